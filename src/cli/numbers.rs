//! Numbers on the command line: refused as they were typed, with what is allowed.

/// The largest whole number: that of TOML, in which a run's settings are kept.
pub const MOST: u64 = i64::MAX as u64;

/// Takes whole numbers from `least` to `most`.
pub fn whole<T>(least: u64, most: u64) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.trim().parse::<u64>().ok().filter(|number| (least..=most).contains(number));
        let wrong = || match most {
            MOST => format!("a whole number from {least} to {MOST} (2^63 - 1) is allowed"),
            _ => format!("a whole number from {least} to {most} is allowed"),
        };
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(wrong)
    }
}

/// Takes finite numbers above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "a number above 0 is allowed".into())
}

/// Takes numbers from `least` to `most`.
pub fn between(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.trim().parse::<f64>().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("a number from {least:e} to {most:e} is allowed"))
    }
}

/// Takes shares from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "a share from 0 to 1 is allowed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        let seed = whole::<u64>(0, MOST);
        assert_eq!((seed("0"), seed("9223372036854775807")), (Ok(0), Ok(MOST)));
        for text in ["-1", "9223372036854775808", "18446744073709551615", "1.5", "", "x", "1e3"] {
            assert!(seed(text).unwrap_err().contains("from 0 to 9223372036854775807"), "{text}");
        }
        assert!(whole::<u16>(0, 65_535)("65536").unwrap_err().contains("from 0 to 65535"));
        assert_eq!((positive("0.5"), share("1")), (Ok(0.5), Ok(1.0)));
        for text in ["-1", "0", "nan", "inf", "x"] {
            assert!(positive(text).is_err(), "{text}");
        }
        assert_eq!(between(1e-3, 1e3)("0.001"), Ok(1e-3));
        for text in ["0", "1e-4", "1001", "nan", "x"] {
            assert!(between(1e-3, 1e3)(text).unwrap_err().contains("from 1e-3 to 1e3"), "{text}");
        }
        assert!(share("-0.1").is_err() && share("1.1").is_err() && share("nan").is_err());
    }
}
