//! Names of classes and functions in pickles. None is ever looked up, let alone called.

use crate::formats::weights::entry::Dtype;
use crate::text::cut;

/// Modules whose names stand in a checkpoint only to run code.
#[rustfmt::skip]
const RUNS_CODE: [&str; 27] = [
    "os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "importlib", "imp", "runpy", "pty", "ctypes", "_ctypes",
    "pickle", "_pickle", "cPickle", "marshal", "code", "codeop", "pdb", "bdb", "timeit", "webbrowser", "commands",
    // What these are made of.
    "_posixsubprocess", "_socket", "_imp",
];

/// What of Python's builtins makes values and nothing else.
#[rustfmt::skip]
const PLAIN: [&str; 18] = [
    "set", "frozenset", "dict", "list", "tuple", "int", "long", "float", "complex", "bool", "str", "unicode", "bytes",
    "bytearray", "slice", "range", "xrange", "object",
];

/// A name that is more than a name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    OrderedDict,
    /// Storage, offset, extents, strides, and more that is not needed.
    RebuildTensor,
    /// The first argument is the value.
    First,
    /// A class of storages.
    Storage(Dtype),
    /// Anything else.
    Other,
}

/// What a name stands for.
///
/// # Errors
/// It can only have been put there to run code.
pub(super) fn known(module: &str, name: &str) -> Result<Known, String> {
    let package = module.split('.').next().unwrap_or_default();
    let builtin = module == "builtins" || module == "__builtin__";
    if RUNS_CODE.contains(&package) || builtin && !PLAIN.contains(&name) {
        let called = cut(&format!("{module}.{name}"));
        return Err(format!("it names `{called}`, which is made to run code and has no place in a checkpoint"));
    }
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Known::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Known::RebuildTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") | ("torch", "Size") => Known::First,
        ("torch" | "torch.cuda", name) => name.strip_suffix("Storage").map_or(Known::Other, |kind| {
            Known::Storage(match kind {
                "Double" => Dtype::F64,
                "Float" => Dtype::F32,
                "Half" => Dtype::F16,
                "BFloat16" => Dtype::Bf16,
                "Long" => Dtype::I64,
                "Int" => Dtype::I32,
                "Short" => Dtype::I16,
                "Char" => Dtype::I8,
                "Byte" => Dtype::U8,
                "Bool" => Dtype::Bool,
                _ => Dtype::Other,
            })
        }),
        _ => Known::Other,
    })
}
