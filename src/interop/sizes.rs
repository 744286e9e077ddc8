//! What the shapes of a file's tensors say of the network.

use super::listing::Listing;
use crate::text::shown;

/// The longest side of a grid of patches.
const GRID_MOST: usize = 16_384;

/// The sizes of a network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sizes {
    pub(super) width: usize,
    pub(super) depth: usize,
    pub(super) patch: usize,
    pub(super) channels: usize,
    pub(super) mlp_ratio: usize,
    /// Columns of attention in a block.
    pub(super) inner: usize,
    /// The grid of patches that the table of positions is for.
    pub(super) grid: (usize, usize),
    /// Classes of the head, if there is one.
    pub(super) classes: Option<usize>,
    /// Whether there is the encoder's own norm, and one for the mean of its tokens.
    pub(super) norm: bool,
    pub(super) fc_norm: bool,
    pub(super) decoder: Option<DecoderSizes>,
}

/// The sizes of decoders.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DecoderSizes {
    pub(super) width: usize,
    pub(super) depth: usize,
    /// Whether there is a feature decoder too.
    pub(super) features: bool,
}

impl Sizes {
    /// Reads the shapes. `grid` is that of the positions where something says it, otherwise they are a square's.
    pub(super) fn of(listing: &Listing, grid: Option<[usize; 2]>) -> Result<Sizes, String> {
        let shape = |own: &str| {
            listing.shape(own).ok_or_else(|| match own {
                "cls_token" => "it has no class token; encoders without one are not read".to_owned(),
                _ => format!("it holds no `{}`, which every encoder has", theirs(listing, own)),
            })
        };
        let odd = |own: &str, shape: &[usize], wanted: &str| {
            format!("`{}` has shape {shape:?}, not {wanted}", theirs(listing, own))
        };
        let width = match shape("cls_token")? {
            [1, 1, width] if *width > 0 => *width,
            other => return Err(odd("cls_token", other, "[1, 1, width]")),
        };
        let (channels, patch) = match shape("patch_embed.proj.weight")? {
            [d, channels, p, q] if *d == width && p == q && *p > 0 => (*channels, *p),
            other => return Err(odd("patch_embed.proj.weight", other, "[width, channels, patch, patch]")),
        };
        let depth = listing.blocks("blocks");
        let first = shape("blocks.0.mlp.fc1.weight")?;
        let mlp_ratio = match first {
            [hidden, d] if *d == width && *hidden > 0 && hidden.is_multiple_of(width) => hidden / width,
            other => return Err(odd("blocks.0.mlp.fc1.weight", other, "[a multiple of the width, width]")),
        };
        let inner = match shape("blocks.0.attn.proj.weight")? {
            [d, inner] if *d == width && *inner > 0 => *inner,
            other => return Err(odd("blocks.0.attn.proj.weight", other, "[width, columns]")),
        };
        let classes = match listing.shape("head.weight") {
            None => None,
            Some([classes, d]) if *d == width => Some(*classes),
            Some(other) => return Err(odd("head.weight", other, "[classes, width]")),
        };
        Ok(Sizes {
            width,
            depth,
            patch,
            channels,
            mlp_ratio,
            inner,
            grid: positions(listing, width, grid)?,
            classes,
            norm: listing.shape("norm.weight").is_some(),
            fc_norm: listing.shape("fc_norm.weight").is_some(),
            decoder: decoder(listing),
        })
    }
}

/// What a parameter is called in the file's world.
pub(super) fn theirs(listing: &Listing, own: &str) -> String {
    listing.world.links(own).map_or_else(|| own.into(), |links| links[0].theirs.name.clone())
}

/// The grid of the table of positions.
fn positions(listing: &Listing, width: usize, grid: Option<[usize; 2]>) -> Result<(usize, usize), String> {
    let name = listing.world.positions();
    let table = listing.tensors.get(name);
    let shape = match table.map(|table| &table.shape[..]) {
        Some([1, rows, d]) if *d == width => *rows,
        Some(other) => return Err(format!("`{}` has shape {other:?}, not [1, 1 + patches, width]", shown(name))),
        None => return Err(format!("it holds no `{name}`: networks without a table of positions are not read")),
    };
    let square = |cells: usize| {
        let side = cells.isqrt();
        (side * side == cells && (1..=GRID_MOST).contains(&side)).then_some((side, side))
    };
    let cells = shape.saturating_sub(1);
    let said = grid.map(|[rows, cols]| (rows, cols)).filter(|(rows, cols)| rows.checked_mul(*cols) == Some(cells));
    said.or_else(|| square(cells)).ok_or_else(|| match square(shape) {
        Some((side, _)) => format!(
            "`{name}` has {shape} rows, {side} × {side} patches and none for the class token; such networks are not read"
        ),
        None => format!("`{name}` has {shape} rows, which is no class token and a square of patches"),
    })
}

/// The sizes of decoders that seem whole.
fn decoder(listing: &Listing) -> Option<DecoderSizes> {
    let &[width, _] = listing.shape("pixel_decoder.embed.weight")? else { return None };
    let depth = listing.blocks("pixel_decoder.blocks");
    let features = listing.shape("feature_decoder.embed.weight").is_some();
    (width > 0 && depth > 0).then_some(DecoderSizes { width, depth, features })
}
