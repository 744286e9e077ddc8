//! The header of a safetensors file.

use std::{collections::HashMap, fmt};

use safetensors::tensor::{Metadata, TensorInfo};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use crate::text::cut;

/// Where the header keeps strings.
const STRINGS: &str = "__metadata__";

/// Checks a header: an object of tensors, whose ranges follow each other from 0 on and fit their shapes, and of
/// strings. The format's own library takes the last of several tensors of one name; here that is an error.
pub(super) fn parse(text: &[u8]) -> Result<Metadata, String> {
    let Header { metadata, mut tensors } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.array_windows().find(|[one, next]| one == next) {
        return Err(format!("two tensors named `{}`", cut(name)));
    }
    for (name, TensorInfo { dtype, shape, data_offsets: (from, to) }) in &tensors {
        let count = shape.iter().try_fold(1usize, |count, extent| count.checked_mul(*extent));
        let bits = count.and_then(|count| count.checked_mul(dtype.bitsize()));
        if bits.is_none() || bits != to.checked_sub(*from).and_then(|bytes| bytes.checked_mul(8)) {
            let name = cut(name);
            return Err(format!(
                "tensor `{name}` of {dtype} and shape {shape:?} cannot be the bytes from {from} to {to}"
            ));
        }
    }
    tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
    Metadata::new(metadata, tensors).map_err(|error| error.to_string())
}

struct Header {
    metadata: Option<HashMap<String, String>>,
    tensors: Vec<(String, TensorInfo)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Header, D::Error> {
        from.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header { metadata: None, tensors: Vec::new() };
        while let Some(name) = map.next_key::<String>()? {
            if name != STRINGS {
                header.tensors.push((name, map.next_value()?));
            } else if header.metadata.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom(format!("two of `{STRINGS}`")));
            }
        }
        Ok(header)
    }
}
