//! A network in a file of another program, as a model of this one.

use super::{
    asked::{Asked, Imported},
    known::Known,
    listing::{AVERAGE, KEYS, Listing},
    plan::{Made, Plan},
    positions::{computed, order},
    worlds::{Link, Order},
};
use crate::{
    checkpoint::Model,
    formats::weights::WeightFile,
    model::{channels_first, of_decoder},
    nn::{PositionOrder, PositionResize, resize_positions},
    text::shown,
    train::snapshot::NamedTensor,
};

/// The set of tensors that is asked for, or the first of the usual ones.
pub(super) fn chosen(file: &WeightFile, asked: &Asked) -> Result<Listing, String> {
    let keys = file.keys();
    let listed = || {
        let named: Vec<_> =
            keys.iter().map(|key| if key.is_empty() { "the root".into() } else { shown(key) }).collect();
        if named.is_empty() { "no tensors at all".into() } else { format!("tensors under {}", named.join(", ")) }
    };
    let key = match &asked.key {
        Some(key) => keys.iter().find(|held| **held == key.as_str()),
        None => KEYS.iter().find_map(|key| keys.iter().find(|held| *held == key)),
    };
    let Some(key) = key else {
        return Err(match &asked.key {
            Some(key) => format!("it holds nothing under the key {}; it holds {}", shown(key), listed()),
            None => format!("it holds no weights under a usual key but {}; give --key", listed()),
        });
    };
    Listing::new(key, file.entries(key).unwrap_or_default())
}

/// The network that a file holds, without its values.
pub(super) fn plan(file: &WeightFile, known: &Known, asked: &Asked) -> Result<Plan, String> {
    let mut known = known.clone();
    known.described(file.metadata().get(super::Description::KEY))?;
    let mut plan = Plan::new(chosen(file, asked)?, &known, asked)?;
    plan.notes.extend(known.remark());
    Ok(plan)
}

/// Reads the network that a file holds.
pub(super) fn import(file: &WeightFile, known: &Known, asked: &Asked) -> Result<Imported, String> {
    read(file, plan(file, known, asked)?, asked)
}

/// The most bytes of memory that reading takes: the model's, and those of the largest tensor of the file.
pub(super) fn bytes(file: &WeightFile, known: &Known, asked: &Asked) -> Result<u64, String> {
    let mut plan = plan(file, known, asked)?;
    let average = average(file, &mut plan);
    let values = [Some(&plan), average.as_ref()].into_iter().flatten().flat_map(|plan| &plan.made);
    let table = plan.config.model.width * (1 + plan.config.model.patches());
    let largest = plan.listing.tensors.values().map(|listed| listed.shape.iter().product::<usize>()).max();
    let values = values.map(|made| made.param.len()).sum::<usize>() + 2 * table + largest.unwrap_or_default();
    Ok(values as u64 * size_of::<f32>() as u64)
}

/// Reads the values that a plan names.
pub(super) fn read(file: &WeightFile, mut plan: Plan, asked: &Asked) -> Result<Imported, String> {
    let average = average(file, &mut plan);
    let positions = settle_positions(file, &mut plan, asked)?;
    let mut tensors = tensors(file, &plan)?;
    tensors.extend(positions);
    let teacher = match average {
        None => None,
        Some(average) => {
            let average = Plan { config: plan.config.clone(), ..average };
            let mut teacher = self::tensors(file, &average)?;
            if tensors.iter().any(|tensor| tensor.name == "pos_embed") {
                teacher.push(kept(table(file, &average, average.listing.world.positions())?, &average));
            }
            Some(teacher)
        }
    };
    plan.config.check().map_err(|e| e.to_string())?;
    let model = Model { step: 0, config: plan.config, tensors, teacher };
    Ok(Imported { model, world: Some(plan.listing.world), notes: plan.notes })
}

/// The same network's moving average, where the file has one beside the weights.
fn average(file: &WeightFile, plan: &mut Plan) -> Option<Plan> {
    let key = (plan.listing.key != AVERAGE).then_some(AVERAGE)?;
    let found = Listing::new(key, file.entries(key)?).and_then(|listing| plan.average(listing));
    match found {
        Ok(average) => {
            let what = if plan.config.classifier.is_some() { "the moving average" } else { "the teacher" };
            plan.notes.push(format!("`{AVERAGE}` is taken for {what}; `--key {AVERAGE}` takes its weights alone"));
            Some(average)
        }
        Err(reason) => {
            plan.notes.push(format!("`{AVERAGE}` is left out: {reason}"));
            None
        }
    }
}

/// The values of a table of positions.
fn table(file: &WeightFile, plan: &Plan, name: &str) -> Result<Vec<f32>, String> {
    file.read(&plan.listing.key, &plan.listing.tensors[name].name)
}

/// Finds out what the positions are and sets the configuration's; gives the table where it is none that can be computed.
fn settle_positions(file: &WeightFile, plan: &mut Plan, asked: &Asked) -> Result<Option<NamedTensor>, String> {
    let (world, width, grid) = (plan.listing.world, plan.config.model.width, plan.grid);
    let positions = table(file, plan, world.positions())?;
    let exact = computed(&positions, width, grid);
    let mut found = order(&positions, width, grid, plan.listing.tensors[world.positions()].dtype);
    match decoder_positions(file, plan, found)? {
        Ok(order) => found = found.or(order),
        Err(reason) => {
            plan.notes.push(format!("its decoder is left out: {reason}"));
            plan.decoders = false;
            plan.made.retain(|made| !of_decoder(&made.param.name));
        }
    }
    plan.config.model.positions = found.unwrap_or(plan.config.model.positions);
    let patch = plan.config.model.patch_size;
    let resized = match asked.image_size {
        Some(side) if !side.is_multiple_of(patch) || side == 0 => {
            return Err(format!("images of {side} × {side} pixels have no whole patches of {patch} pixels"));
        }
        Some(side) => (side / patch, side / patch) != grid,
        None => false,
    };
    if resized {
        let side = asked.image_size.unwrap_or_default();
        plan.config.model = plan.config.model.clone().with_size(side, side, patch);
        let (rows, cols) = grid;
        plan.notes
            .push(format!("positions of {rows} × {cols} patches are resized for images of {side} × {side} pixels"));
    }
    let keeps = resized || exact.is_none();
    if let Some(classifier) = &mut plan.config.classifier {
        (classifier.train_positions, classifier.position_grid) = (keeps, None);
    }
    Ok(keeps.then(|| kept(positions, plan)))
}

/// The order of the decoder's positions, none where the file has none; the inner error says why they are none that are
/// computed here. `encoder` is the order of the encoder's.
fn decoder_positions(
    file: &WeightFile,
    plan: &Plan,
    encoder: Option<PositionOrder>,
) -> Result<Result<Option<PositionOrder>, String>, String> {
    let (name, (rows, cols)) = (plan.listing.world.decoder_positions(), plan.grid);
    let Some(listed) = plan.listing.tensors.get(name).filter(|_| plan.decoders) else { return Ok(Ok(None)) };
    let (held, width) = (shown(&listed.name), plan.config.model.pixel_decoder_width);
    if listed.shape != [1, 1 + rows * cols, width] {
        return Ok(Err(format!("`{held}` has shape {:?}, which is not for {rows} × {cols} patches", listed.shape)));
    }
    Ok(match order(&table(file, plan, name)?, width, plan.grid, listed.dtype) {
        None => Err(format!("`{held}` is not the sine-cosine table")),
        Some(own) if encoder.is_some_and(|encoder| encoder != own) => {
            Err(format!("`{held}` and the encoder's positions have rows and columns in another order"))
        }
        own => Ok(own),
    })
}

/// A table of positions as a tensor, for the grid of the configuration.
fn kept(table: Vec<f32>, plan: &Plan) -> NamedTensor {
    let (width, grid) = (plan.config.model.width, plan.config.model.grid());
    let data = match grid == plan.grid {
        true => table,
        false => resize_positions(&table, width, plan.grid, grid, PositionResize::Bicubic),
    };
    NamedTensor { name: "pos_embed".into(), shape: vec![1, 1 + grid.0 * grid.1, width], data }
}

/// Reads the parameters, one tensor of the file at a time.
fn tensors(file: &WeightFile, plan: &Plan) -> Result<Vec<NamedTensor>, String> {
    let tensor = |made: &Made| {
        let data = assembled(file, plan, made)?;
        Ok(NamedTensor { name: made.param.name.clone(), shape: made.param.shape.clone(), data })
    };
    plan.made.iter().map(tensor).collect()
}

/// The values of a parameter.
fn assembled(file: &WeightFile, plan: &Plan, Made { param, links, scale }: &Made) -> Result<Vec<f32>, String> {
    let read = |name: &str| file.read(&plan.listing.key, &plan.listing.tensors[name].name);
    let channels = plan.config.model.channels;
    let mut data = Vec::new();
    for Link { own, theirs, order } in links {
        let values = read(&theirs.name)?;
        let Some(own) = own else { continue };
        if (own.of, theirs.of) == (1, 1) {
            data = match order {
                Order::Same => values,
                Order::PixelRows => channels_first(&values, channels, param.len() / param.shape[0]),
            };
            continue;
        }
        data.resize(param.len(), 0.0);
        let (to, from) = (param.len() / own.of, values.len() / theirs.of);
        data[own.part * to..][..to].copy_from_slice(&values[theirs.part * from..][..from]);
    }
    if links.is_empty() {
        data = vec![0.0; param.len()];
    }
    if let Some(scale) = scale {
        let (scale, row) = (read(scale)?, param.len() / param.shape[0]);
        for (row, factor) in data.chunks_mut(row).zip(scale) {
            row.iter_mut().for_each(|value| *value *= factor);
        }
    }
    if let Some(at) = data.iter().position(|value| !value.is_finite()) {
        return Err(format!("`{}` is not a finite number at {at}", param.name));
    }
    Ok(data)
}
