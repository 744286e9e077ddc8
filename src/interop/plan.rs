//! Which tensors of a file the parameters of a network are made of. No values are read for it.

use std::collections::BTreeSet;

use super::{
    asked::Asked,
    known::Known,
    listing::Listing,
    settings::settings,
    sizes::Sizes,
    worlds::{Link, World},
};
use crate::{
    model::{inventory, of_decoder},
    nn::Param,
    text::shown,
    train::config::RunConfig,
};

/// The names of factors of the residual branches, of attention and of the MLP.
const SCALES: [(&str, [&str; 2]); 2] =
    [("attn.proj.", ["ls1.gamma", "gamma_1"]), ("mlp.fc2.", ["ls2.gamma", "gamma_2"])];

/// How one parameter is made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) param: Param,
    /// Where its values stand; nowhere where they are zeros.
    pub(super) links: Vec<Link>,
    /// The tensor that its rows are multiplied by.
    pub(super) scale: Option<String>,
}

/// A network in a file.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) listing: Listing,
    /// For the grid of the table of positions, and with the order that such networks have.
    pub(super) config: RunConfig,
    pub(super) grid: (usize, usize),
    pub(super) made: Vec<Made>,
    /// Whether decoders are among them.
    pub(super) decoders: bool,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

impl Plan {
    /// Finds the network in a set of tensors.
    pub(super) fn new(listing: Listing, known: &Known, asked: &Asked) -> Result<Plan, String> {
        if let Some(name) = listing.alien() {
            return Err(listing.refusal(name));
        }
        let grid = known.description.as_ref().and_then(|described| described.grid);
        let mut sizes = Sizes::of(&listing, grid)?;
        let mut notes = Vec::new();
        if sizes.classes.is_some_and(|classes| classes < 2) {
            notes.push("its head is left out: one of a single class is no classifier".into());
            sizes.classes = None;
        }
        let mut decoder = sizes.decoder.clone().filter(|_| sizes.classes.is_none());
        let before = notes.len();
        let mut config = settings(&listing, &sizes, decoder.as_ref(), (known, asked), &mut notes)?;
        if decoder.is_some()
            && let Err(reason) = decoders_fit(&listing, &config)
        {
            notes.truncate(before);
            notes.push(format!("its decoder is left out: {reason}"));
            decoder = None;
            config = settings(&listing, &sizes, None, (known, asked), &mut notes)?;
        }
        config.check().map_err(|e| e.to_string())?;
        let mut plan = Plan { config, grid: sizes.grid, made: Vec::new(), decoders: decoder.is_some(), notes, listing };
        plan.make(&sizes)?;
        Ok(plan)
    }

    /// Finds the tensors of every parameter, and what is left over.
    fn make(&mut self, sizes: &Sizes) -> Result<(), String> {
        let (listing, world) = (&self.listing, self.listing.world);
        let mut used: BTreeSet<&str> = BTreeSet::from([world.positions()]);
        if self.decoders {
            used.insert(world.decoder_positions());
        }
        let mut zeros = Vec::new();
        let mut keys = false;
        for param in params(&self.config, sizes, self.decoders) {
            let links = match found(listing, &param) {
                Ok(links) => links,
                Err(Unfit::Missing(name)) if param.name.ends_with("bias") => {
                    zeros.push(name);
                    Vec::new()
                }
                Err(unfit) => return Err(unfit.reason()),
            };
            for link in &links {
                keys |= link.own.is_none();
                used.extend(listing.tensors.get_key_value(&link.theirs.name).map(|(name, _)| name.as_str()));
            }
            let scale = scale(listing, &param)?;
            used.extend(scale);
            self.made.push(Made { scale: scale.map(str::to_owned), param, links });
        }
        if keys {
            self.notes.push("biases of keys are left out, which changes no result: softmax cancels them".into());
        }
        if let Some(first) = zeros.first() {
            self.notes.push(format!(
                "{} biases that it does not have are zeros, `{}` for one",
                zeros.len(),
                shown(first)
            ));
        }
        if self.made.iter().any(|made| made.scale.is_some()) {
            self.notes.push("layer scale is folded into the layers before it, which changes no result".into());
        }
        let mut passed = Vec::new();
        for (name, listed) in listing.tensors.iter().filter(|(name, _)| !used.contains(name.as_str())) {
            let headless = self.config.classifier.is_none() && (name.starts_with("fc_norm.") || is_head(world, name));
            if !world.is_optional(name) && !headless {
                return Err(listing.refusal(name));
            }
            passed.push(&listed.name);
        }
        if let Some(first) = passed.first() {
            self.notes.push(format!("{} of its tensors are passed over, `{}` for one", passed.len(), shown(first)));
        }
        if self.config.classifier.is_none() && sizes.fc_norm {
            self.notes.push("`fc_norm` is left out: without a head nothing is behind it".into());
        }
        if self.config.classifier.is_some() && sizes.decoder.is_some() {
            self.notes.push("its decoder is left out: with a head it is a classifier".into());
        }
        Ok(())
    }

    /// The same network in another set of tensors, decoders left out.
    pub(super) fn average(&self, listing: Listing) -> Result<Plan, String> {
        let mut made = self.made.clone();
        made.retain(|made| !of_decoder(&made.param.name));
        if listing.world != self.listing.world {
            return Err("its names are of another world".into());
        }
        let positions =
            |listing: &Listing| listing.tensors.get(listing.world.positions()).map(|listed| listed.shape.clone());
        if positions(&listing) != positions(&self.listing) {
            return Err("its positions are of another shape".into());
        }
        for Made { param, links, scale: held } in &mut made {
            if !links.is_empty() {
                *links = found(&listing, param).map_err(Unfit::reason)?;
            }
            if scale(&listing, param)?.map(str::to_owned) != *held {
                return Err(format!("{} is scaled otherwise", param.name));
            }
        }
        Ok(Plan { listing, made, decoders: false, notes: Vec::new(), ..self.clone() })
    }
}

/// The parameters of a network that a file holds.
fn params(config: &RunConfig, sizes: &Sizes, decoders: bool) -> Vec<Param> {
    let wanted = |name: &str| match name {
        "norm.weight" | "norm.bias" => sizes.norm,
        _ => decoders || !of_decoder(name),
    };
    let mut params: Vec<Param> = inventory(&config.model).into_iter().filter(|param| wanted(&param.name)).collect();
    if let Some(classifier) = &config.classifier {
        let head = classifier.inventory(&config.model, 1.0, false).into_iter();
        params.extend(head.filter(|param| ["fc_norm.", "head."].iter().any(|start| param.name.starts_with(start))));
    }
    params
}

fn is_head(world: World, name: &str) -> bool {
    ["head.weight", "head.bias"].iter().any(|own| world.links(own).is_some_and(|links| links[0].theirs.name == name))
}

/// What does not fit.
enum Unfit {
    /// A tensor that is not there.
    Missing(String),
    /// Another shape, or no place.
    Other(String),
}

impl Unfit {
    fn reason(self) -> String {
        match self {
            Unfit::Missing(name) => format!("it holds no `{}`", shown(&name)),
            Unfit::Other(reason) => reason,
        }
    }
}

/// Where the values of a parameter stand, all tensors being there and of the right shape.
fn found(listing: &Listing, param: &Param) -> Result<Vec<Link>, Unfit> {
    let other = || Unfit::Other(format!("{} has no `{}`", listing.world.title(), param.name));
    let links = listing.world.links(&param.name).ok_or_else(other)?;
    for link in &links {
        let name = &link.theirs.name;
        let listed = listing.tensors.get(name).ok_or_else(|| Unfit::Missing(name.clone()));
        let listed = match listed {
            Ok(listed) => listed,
            // A bias of keys may be left out.
            Err(_) if link.own.is_none() => continue,
            Err(missing) => return Err(missing),
        };
        let mut wanted = param.shape.clone();
        wanted[0] = wanted[0] / link.own.as_ref().map_or(1, |own| own.of) * link.theirs.of;
        if listed.shape != wanted {
            let name = shown(&listed.name).into_owned();
            return Err(Unfit::Other(format!("`{name}` has shape {:?}; this network needs {wanted:?}", listed.shape)));
        }
    }
    Ok(links.into_iter().filter(|link| listing.tensors.contains_key(&link.theirs.name)).collect())
}

/// The factors of a parameter's rows, if it has any.
fn scale<'l>(listing: &'l Listing, param: &Param) -> Result<Option<&'l str>, String> {
    let Some((block, leaf)) = param.name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) else {
        return Ok(None);
    };
    let names = SCALES.iter().filter(|(layer, _)| leaf.starts_with(layer)).flat_map(|(_, names)| names);
    let held = names.filter_map(|name| listing.tensors.get_key_value(&format!("blocks.{block}.{name}")));
    let mut held = held.collect::<Vec<_>>();
    match (held.pop(), held.pop()) {
        (None, _) => Ok(None),
        (Some((name, listed)), None) if listed.shape == [param.shape[0]] => Ok(Some(name)),
        (Some((name, listed)), _) => {
            Err(format!("`{}` of shape {:?} is no factor of a branch", shown(name), listed.shape))
        }
    }
}

/// Whether the decoders of a configuration are all there, and nothing else of decoders.
fn decoders_fit(listing: &Listing, config: &RunConfig) -> Result<(), String> {
    config.model.check().map_err(|e| e.to_string())?;
    let mut used = BTreeSet::from([listing.world.decoder_positions().to_owned()]);
    for param in inventory(&config.model).iter().filter(|param| of_decoder(&param.name)) {
        let links = match found(listing, param) {
            Err(Unfit::Missing(_)) if param.name.ends_with("_bias") => continue,
            other => other.map_err(Unfit::reason)?,
        };
        used.extend(links.into_iter().map(|link| link.theirs.name));
    }
    let of_none = |name: &&String| {
        let passed = ["embeddings.mask_token", "pooler."].iter().any(|start| name.starts_with(start));
        listing.world.is_optional(name) && !passed && !used.contains(*name)
    };
    match listing.tensors.keys().find(of_none) {
        Some(name) => Err(format!("`{}` of it is not understood", shown(&listing.tensors[name].name))),
        None => Ok(()),
    }
}
