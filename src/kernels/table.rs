//! Which kernels there are: bodies, what the table puts into them, what adapters must have for them and which choose them.
//! `build.rs` and the tests read it too; shaders/README.md shows it.

/// What an adapter must have for a kernel, beyond WebGPU's core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Subgroup operations.
    Subgroups,
    /// 64-bit integers.
    Int64,
    /// Half precision in shaders.
    F16,
    /// Cooperative matrices (matrix units, tensor cores).
    CooperativeMatrix,
}

/// Which adapters choose a kernel, see `Tuning::for_device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapters {
    /// All do.
    All,
    /// The web-safe reference, and what others cannot take.
    Reference,
    /// GPUs.
    Gpus,
    /// GPUs with matrix units.
    MatrixUnits,
    /// Software rasterizers.
    Software,
    /// GPUs to measure, and software rasterizers without narrow subgroups or 64-bit integers.
    GpusAndSoftware,
    /// Software rasterizers with narrow subgroups and 64-bit integers, as llvmpipe.
    WideSoftware,
    /// Software rasterizers without, as SwiftShader.
    PlainSoftware,
    /// A yardstick of `bench`.
    Bench,
}

impl Adapters {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Adapters::All => "all",
            Adapters::Reference => "the web-safe reference, and what others cannot take",
            Adapters::Gpus => "GPUs",
            Adapters::MatrixUnits => "GPUs with matrix units",
            Adapters::Software => "software with narrow subgroups",
            Adapters::GpusAndSoftware => "software without 64-bit integers; GPUs may measure it",
            Adapters::WideSoftware => "software with narrow subgroups and 64-bit integers",
            Adapters::PlainSoftware => "software without 64-bit integers",
            Adapters::Bench => "a yardstick of `bench`",
        }
    }
}

/// What is put into a body in place of what it has as it stands: of an include `common/A.wgsl` another, of an
/// `alias A = …;` another type.
pub type Swap = (&'static str, &'static str);

/// One end of a matmul, by name: an empty one for the body as it stands.
pub type Epilogue = (&'static str, &'static [Swap]);

/// A line of the table: one text, or one for each of its epilogues.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kernel's name, that of its module and in profiles.
    pub name: &'static str,
    /// The file under `shaders/`, without its ending.
    pub body: &'static str,
    /// Includes that others replace.
    pub includes: &'static [Swap],
    /// Types that others replace.
    pub types: &'static [Swap],
    /// What an adapter must have.
    pub needs: &'static [Feature],
    /// Which adapters choose it.
    pub on: Adapters,
    /// The body's entry points.
    pub entries: &'static [&'static str],
    /// The epilogues it can have.
    pub epilogues: &'static [Epilogue],
}

impl Row {
    /// Whether its loops over a subgroup's lanes are valid only once unrolled, since lanes are named by constants.
    pub fn only_unrolled(&self) -> bool {
        self.needs.contains(&Feature::Subgroups) && !self.needs.contains(&Feature::CooperativeMatrix)
    }

    const fn with(self, includes: &'static [Swap]) -> Row {
        Row { includes, ..self }
    }

    const fn of(self, types: &'static [Swap]) -> Row {
        Row { types, ..self }
    }

    const fn needs(self, needs: &'static [Feature]) -> Row {
        Row { needs, ..self }
    }

    const fn ends(self, epilogues: &'static [Epilogue]) -> Row {
        Row { epilogues, ..self }
    }
}

const fn row(name: &'static str, body: &'static str, on: Adapters, entries: &'static [&'static str]) -> Row {
    Row { name, body, includes: &[], types: &[], needs: &[], on, entries, epilogues: PLAIN }
}

/// A kernel by cooperative matrices.
const fn units(name: &'static str, body: &'static str, entries: &'static [&'static str]) -> Row {
    row(name, body, MatrixUnits, entries).needs(UNITS)
}

/// A kernel whose subgroups share what they load as 64-bit integers.
const fn wide(name: &'static str, body: &'static str, entries: &'static [&'static str]) -> Row {
    row(name, body, WideSoftware, entries).needs(WIDE)
}

/// The text of a row with an epilogue of its own. `read` returns the text of a file under `shaders/`.
pub fn text(row: &Row, epilogue: &Epilogue, read: &dyn Fn(&str) -> String, include: Include) -> String {
    let swapped = |file: &str| {
        let name = file.strip_prefix("common/").and_then(|name| name.strip_suffix(".wgsl"));
        let other = row.includes.iter().chain(epilogue.1).find(|(held, _)| Some(*held) == name);
        other.map_or(file.to_string(), |(_, other)| format!("common/{other}.wgsl"))
    };
    let mut text = String::new();
    for (feature, name) in [(Feature::F16, "f16"), (Feature::CooperativeMatrix, "wgpu_cooperative_matrix")] {
        if row.needs.contains(&feature) {
            text.push_str(&format!("enable {name};\n"));
        }
    }
    text.push_str(&include(&read(&format!("{}.wgsl", row.body)), &|file| read(&swapped(file))));
    for (alias, other) in row.types {
        let head = format!("\nalias {alias} = ");
        let at = text.find(&head).unwrap_or_else(|| panic!("{}: no `alias {alias}`", row.body)) + head.len();
        let end = at + text[at..].find(';').expect("the end of an alias");
        text.replace_range(at..end, other);
    }
    text
}

/// `specialise::include`.
type Include = fn(&str, &dyn Fn(&str) -> String) -> String;

use Adapters::{All, Bench, Gpus, GpusAndSoftware, MatrixUnits, PlainSoftware, Reference, Software, WideSoftware};
use Feature::{CooperativeMatrix, F16, Int64, Subgroups};

const PLAIN: &[Epilogue] = &[("", &[])];
const SLOPE: &str = "gelu_and_slope";
const SCALARS: &[Epilogue] = &[("", &[]), (SLOPE, &[("epilogue_scalar", "epilogue_scalar_gelu_and_slope")])];
const VEC4S: &[Epilogue] = &[("", &[]), (SLOPE, &[("epilogue_vec4", "epilogue_vec4_gelu_and_slope")])];
const BLOCKS: &[Epilogue] = &[("", &[]), (SLOPE, &[("epilogue_vec4", "epilogue_vec4_gelu_and_slope"), STAGED])];
const PACKS: &[Epilogue] = &[
    ("", &[]),
    (SLOPE, &[("epilogue_packs", "epilogue_packs_gelu_and_slope")]),
    ("column_sums", &[("no_column_sums", "column_sums")]),
];

const FORWARD: &[&str] = &["forward"];
const PASSES: &[&str] = &["forward", "backward_q", "backward_kv"];
const PASSES_AT_ONCE: &[&str] = &["forward", "backward_q", "backward_kv", "backward_kv_at_once"];
const NORM: &[&str] = &["forward", "backward", "affine_sums"];
const GELU: &[&str] = &["forward", "backward", "forward_slope", "times_slope"];
const MSE: &[&str] = &["row_error", "row_gradient", "group_gradient", "mean", "backward"];
const CROSS_ENTROPY: &[&str] = &["row_loss", "row_hit", "mean", "backward"];
const OPTIMISER: &[&str] = &["square_sum", "adamw", "ema", "adamw_ema", "accumulate"];
const FILL: &[&str] = &["forward", "invert", "collect"];

const WIDE: &[Feature] = &[Subgroups, Int64];
const UNITS: &[Feature] = &[Subgroups, F16, CooperativeMatrix];

// What is read in half precision, and what is stored so.
const READS_SCALAR_F16: Swap = ("operands_scalar", "operands_scalar_f16");
const READS_F16: Swap = ("operands_vec4", "operands_vec4_f16");
const READS_4_F16: Swap = ("operands_packs", "operands_packs_of_4_f16");
const READS_8_F16: Swap = ("operands_packs", "operands_packs_of_8_f16");
const STORES_F16: Swap = ("stored_vec4", "stored_vec4_f16");
const STORES_WIDE_F16: Swap = ("stored_vec4_wide", "stored_vec4_wide_f16");
// What a lane moves at once: a vec4, or two, of half precision.
const PACKS_OF_4: Swap = ("packs_wide", "packs");
const PACKS_OF_8_F16: Swap = ("packs_wide", "packs_wide_f16");
// Cooperative matrices, and what becomes of their sums.
const BY_8: Swap = ("cooperative_matrix_16", "cooperative_matrix_8");
const STAGED: Swap = ("cooperative_matrix_direct", "cooperative_matrix_staged");
// How attention reads a head's row.
const HEADS_SCALAR: Swap = ("attention_in_vec4", "attention_in_scalar");
const HEADS_PAIRS: Swap = ("attention_in_eights_f16", "attention_in_pairs_f16");

/// Every kernel. Matmuls whose names end in `f16_to_f32` read operands in half precision; those in `f16` store results so,
/// too. Of a body with epilogues each row has one text for each.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row("matmul_naive", "matmul_naive", Bench, FORWARD).ends(SCALARS),
    row("matmul_register", "matmul_register", Reference, FORWARD).ends(SCALARS),
    row("matmul_register_f16_to_f32", "matmul_register", Reference, FORWARD).ends(SCALARS).with(&[READS_SCALAR_F16]),
    row("matmul_shared", "matmul_shared", Gpus, FORWARD).ends(VEC4S),
    row("matmul_shared_f16_to_f32", "matmul_shared", Gpus, FORWARD).ends(VEC4S).with(&[READS_F16]),
    row("matmul_shared_f16", "matmul_shared", Gpus, FORWARD).ends(VEC4S).with(&[READS_F16, STORES_F16]),
    units("matmul_coop_8_f16_to_f32", "matmul_cooperative_matrix", FORWARD).ends(BLOCKS).with(&[BY_8]),
    units("matmul_coop_8_f16", "matmul_cooperative_matrix", FORWARD).ends(BLOCKS).with(&[BY_8, STORES_F16, STAGED]),
    units("matmul_coop_16_f16_to_f32", "matmul_cooperative_matrix", FORWARD).ends(BLOCKS),
    units("matmul_coop_16_f16", "matmul_cooperative_matrix", FORWARD).ends(BLOCKS).with(&[STORES_F16, STAGED]),
    units("matmul_coop_shared_8_f16_to_f32", "matmul_cooperative_matrix_shared", FORWARD).ends(BLOCKS).with(&[BY_8]),
    units("matmul_coop_shared_8_f16", "matmul_cooperative_matrix_shared", FORWARD).ends(BLOCKS)
        .with(&[BY_8, STORES_F16, STAGED]),
    units("matmul_coop_shared_16_f16_to_f32", "matmul_cooperative_matrix_shared", FORWARD).ends(BLOCKS),
    units("matmul_coop_shared_16_f16", "matmul_cooperative_matrix_shared", FORWARD).ends(BLOCKS)
        .with(&[STORES_F16, STAGED]),
    row("matmul_register_vec4", "software/matmul_register_vec4", PlainSoftware, FORWARD).ends(VEC4S),
    row("matmul_register_vec4_f16_to_f32", "software/matmul_register_vec4", PlainSoftware, FORWARD).ends(VEC4S)
        .with(&[READS_F16]),
    row("matmul_register_vec4_f16", "software/matmul_register_vec4", PlainSoftware, FORWARD).ends(VEC4S)
        .with(&[READS_F16, STORES_F16]),
    row("matmul_subgroup", "software/matmul_subgroup", Software, FORWARD).ends(SCALARS).needs(&[Subgroups]),
    wide("matmul_subgroup_vec4", "software/matmul_subgroup_vec4", FORWARD).ends(PACKS).with(&[PACKS_OF_4]),
    wide("matmul_subgroup_vec4_f16_to_f32", "software/matmul_subgroup_vec4", FORWARD).ends(PACKS)
        .with(&[PACKS_OF_4, READS_4_F16]),
    wide("matmul_subgroup_vec4_f16", "software/matmul_subgroup_vec4", FORWARD).ends(PACKS)
        .with(&[PACKS_OF_4, READS_4_F16, STORES_WIDE_F16]),
    wide("matmul_subgroup_vec8", "software/matmul_subgroup_vec4", FORWARD).ends(PACKS),
    wide("matmul_subgroup_vec8_f16_to_f32", "software/matmul_subgroup_vec4", FORWARD).ends(PACKS).with(&[READS_8_F16]),
    wide("matmul_subgroup_vec8_f16", "software/matmul_subgroup_vec4", FORWARD).ends(PACKS)
        .with(&[PACKS_OF_8_F16, READS_8_F16, STORES_WIDE_F16]),

    row("attention_scalar", "attention_scalar", Reference, PASSES),
    row("attention_vec4", "attention_vec4", GpusAndSoftware, PASSES_AT_ONCE),
    row("attention_vec4_f16", "attention_vec4", GpusAndSoftware, PASSES_AT_ONCE).with(&[STORES_F16]),
    row("attention_shared", "attention_shared", Gpus, PASSES),
    row("attention_shared_f16", "attention_shared", Gpus, PASSES).with(&[STORES_F16]),
    row("attention_shared_scalar", "attention_shared", Gpus, PASSES).with(&[HEADS_SCALAR]),
    units("attention_coop_8", "attention_cooperative_matrix", PASSES).with(&[BY_8]),
    units("attention_coop_8_pairs", "attention_cooperative_matrix", PASSES).with(&[BY_8, HEADS_PAIRS]),
    units("attention_coop_16", "attention_cooperative_matrix", PASSES),
    units("attention_coop_16_pairs", "attention_cooperative_matrix", PASSES).with(&[HEADS_PAIRS]),
    wide("attention_subgroup_vec4", "software/attention_subgroup_vec4", PASSES),
    wide("attention_subgroup_vec4_f16", "software/attention_subgroup_vec4", PASSES).with(&[STORES_WIDE_F16]),

    row("layer_norm_scalar", "layer_norm_scalar", Reference, NORM),
    row("layer_norm_vec4", "layer_norm_vec4", GpusAndSoftware, NORM),
    row("layer_norm_vec4_f16", "layer_norm_vec4", GpusAndSoftware, NORM).with(&[STORES_F16]),
    row("layer_norm_shared", "layer_norm_shared", Gpus, &["forward", "backward"]),
    row("layer_norm_shared_f16", "layer_norm_shared", Gpus, &["forward", "backward"]).with(&[STORES_F16]),
    wide("layer_norm_subgroup_vec4", "software/layer_norm_subgroup_vec4", &["forward", "backward_affine"]),
    wide("layer_norm_subgroup_vec4_f16", "software/layer_norm_subgroup_vec4", &["forward", "backward_affine"])
        .with(&[STORES_WIDE_F16]),

    row("gelu", "gelu", All, GELU),
    row("gelu_f16", "gelu", All, GELU).with(&[STORES_F16]),
    row("masked_mse", "masked_mse", All, MSE),
    row("soft_cross_entropy", "soft_cross_entropy", All, CROSS_ENTROPY),
    row("column_sum", "column_sum", All, FORWARD),
    row("column_sum_vec4", "column_sum_vec4", All, FORWARD),
    row("column_sum_vec4_f16", "column_sum_vec4", All, FORWARD).with(&[STORES_F16]),
    row("elementwise", "elementwise", All, &["add", "multiply"]),
    row("attention_bias", "attention_bias", All, &["forward", "slice"]),
    row("cast", "cast", All, &["to_half"]),
    row("loss_scale", "loss_scale", All, FORWARD),
    row("copy", "copy", Bench, FORWARD),

    row("assemble_tokens", "assemble_tokens", All, FORWARD).of(&[("Item", "f32")]),
    row("assemble_tokens_vec4", "assemble_tokens", All, FORWARD),
    row("fill_masked", "fill_masked", All, FILL).with(&[("stored_vec4", "stored_scalar")])
        .of(&[("Item", "f32"), ("Sum", "f32")]),
    row("fill_masked_vec4", "fill_masked", All, FILL),
    row("fill_masked_vec4_f16", "fill_masked", All, FILL).with(&[STORES_F16]),
    row("gather_rows", "gather_rows", All, &["forward", "scatter"]).of(&[("Item", "f32")]),
    row("gather_rows_vec4", "gather_rows", All, &["forward", "scatter"]),
    row("patchify", "patchify", All, FORWARD).of(&[("Item", "f32")]),
    row("patchify_vec4", "patchify", All, FORWARD),
    row("pool_tokens", "pool_tokens", All, &["forward", "backward"]).of(&[("Item", "f32")]),
    row("pool_tokens_vec4", "pool_tokens", All, &["forward", "backward"]),
    row("scale_images", "scale_images", All, FORWARD).with(&[("stored_vec4", "stored_scalar")])
        .of(&[("Item", "f32"), ("Made", "f32")]),
    row("scale_images_vec4", "scale_images", All, FORWARD),
    row("scale_images_vec4_f16", "scale_images", All, FORWARD).with(&[STORES_F16]),
    row("slice_rows", "slice_rows", All, &["slice", "pad"]).of(&[("Item", "f32")]),
    row("slice_rows_vec4", "slice_rows", All, &["slice", "pad"]),

    row("optimiser", "optimiser", All, OPTIMISER),
    wide("optimiser_wide", "optimiser", OPTIMISER).with(&[("stored_vec4", "wide"), ("packs", "packs_wide")]),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    const BEGIN: &str = "<!-- the table of src/kernels/table.rs begins -->\n";
    const END: &str = "<!-- it ends -->\n";

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders")
    }

    fn shown() -> String {
        let swaps = |row: &Row| {
            let files = row.includes.iter().map(|(own, other)| format!("`{other}` for `{own}`"));
            files
                .chain(row.types.iter().map(|(own, other)| format!("`{own}` is `{other}`")))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut text =
            "| kernel | body | with | needs | adapters | entry points | epilogues |\n|---|---|---|---|---|---|---|\n"
                .to_string();
        for row in TABLE {
            let needs: Vec<_> = row.needs.iter().map(|feature| format!("{feature:?}")).collect();
            let ends: Vec<_> = row.epilogues.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
            text += &format!(
                "| `{}` | `{}` | {} | {} | {} | {} | {} |\n",
                row.name,
                row.body,
                swaps(row),
                needs.join(", "),
                row.on.name(),
                row.entries.join(", "),
                ends.join(", ")
            );
        }
        text.replace("|  |", "| |").replace("|  |", "| |")
    }

    #[test]
    fn the_readme_of_the_shaders_shows_the_table() {
        let path = folder().join("README.md");
        let held = fs::read_to_string(&path).expect("shaders/README.md");
        let (before, rest) = held.split_once(BEGIN).expect("where the table begins");
        let (table, after) = rest.split_once(END).expect("where it ends");
        if table == shown() {
            return;
        }
        if std::env::var_os("BOOTMAE_WRITE_TABLE").is_some() {
            fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", shown())).expect("shaders/README.md");
        }
        panic!(
            "shaders/README.md does not show the table: `BOOTMAE_WRITE_TABLE=1 cargo test --lib kernels::table` writes it"
        );
    }

    #[test]
    fn every_shader_is_in_the_table() {
        let files = |sub: &str| -> BTreeSet<String> {
            let entries = fs::read_dir(folder().join(sub)).expect("a folder of shaders");
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter_map(|name| Some(format!("{sub}{}", name.strip_suffix(".wgsl")?))).collect()
        };
        let bodies: BTreeSet<_> = TABLE.iter().map(|row| row.body.to_string()).collect();
        assert_eq!(bodies, &files("") | &files("software/"));
        let read = std::cell::RefCell::new(BTreeSet::new());
        for row in TABLE {
            for epilogue in row.epilogues {
                let load = |file: &str| {
                    read.borrow_mut().insert(file.strip_suffix(".wgsl").expect("a shader").to_string());
                    fs::read_to_string(folder().join(file)).expect("a shader")
                };
                text(row, epilogue, &load, crate::kernels::specialise::include);
            }
        }
        assert_eq!(
            read.into_inner().into_iter().filter(|file| file.starts_with("common/")).collect::<BTreeSet<_>>(),
            files("common/")
        );
        let names: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len(), "every name stands once");
    }
}
