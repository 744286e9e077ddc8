//! Numbers by name, as steps report them and lines of metrics hold them.

use std::{borrow::Cow, fmt, ops::Index};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// Numbers by name, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scalars(Vec<(Cow<'static, str>, f64)>);

impl Scalars {
    /// Adds `value` to what stands under a name, 0 at first.
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>, value: f64) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, held)) => *held += value,
            None => self.0.push((name, value)),
        }
    }

    /// The sums of some, name by name: neighbours first, so that they do not depend on how many processes hold 2, 4, 8 … of
    /// them.
    pub fn added_up(mut parts: Vec<Scalars>) -> Scalars {
        while parts.len() > 1 {
            let pair = |pair: &[Scalars]| {
                let mut sum = pair[0].clone();
                pair[1..].iter().flat_map(Scalars::iter).for_each(|(name, value)| sum.add(name.to_owned(), value));
                sum
            };
            parts = parts.chunks(2).map(pair).collect();
        }
        parts.pop().unwrap_or_default()
    }

    /// The number of a name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Names and numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }
}

impl Index<&str> for Scalars {
    type Output = f64;

    /// Panics where there is no such name.
    fn index(&self, name: &str) -> &f64 {
        let found = self.0.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no scalar `{name}` in {self:?}")).1
    }
}

impl<N: Into<Cow<'static, str>>> FromIterator<(N, f64)> for Scalars {
    fn from_iter<I: IntoIterator<Item = (N, f64)>>(pairs: I) -> Scalars {
        Scalars(pairs.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl Serialize for Scalars {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

/// What may stand under a name: JSON has no NaN, and a later program may add other things.
#[derive(Deserialize)]
#[serde(untagged)]
enum Held {
    Number(f64),
    Null(()),
    Other(IgnoredAny),
}

impl<'de> Deserialize<'de> for Scalars {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Scalars, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Scalars;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalars, A::Error> {
                let mut scalars = Scalars::default();
                while let Some((name, held)) = map.next_entry::<String, Held>()? {
                    match held {
                        Held::Number(value) => scalars.0.push((name.into(), value)),
                        Held::Null(()) => scalars.0.push((name.into(), f64::NAN)),
                        Held::Other(_) => {}
                    }
                }
                Ok(scalars)
            }
        }
        from.deserialize_map(Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_add_up_by_name_and_read_back_in_order() {
        let mut scalars = Scalars::default();
        for (name, value) in [("b", 0.5), ("a", 0.1), ("b", 0.25), ("c", f64::NAN)] {
            scalars.add(name, value);
        }
        assert_eq!((scalars["b"], scalars.get("a"), scalars.get("d")), (0.75, Some(0.1), None));
        let text = serde_json::to_string(&scalars).unwrap();
        assert_eq!(text, r#"{"b":0.75,"a":0.1,"c":null}"#);
        let read: Scalars = serde_json::from_str(&text.replace("null", r#"null,"note":"of a later program""#)).unwrap();
        assert!(read["c"].is_nan() && read.iter().map(|(name, _)| name).eq(["b", "a", "c"]), "{read:?}");
    }
}
