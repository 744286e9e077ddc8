//! What two runs were told differently.

use super::RunConfig;

/// The settings in which two runs differ, each as `section.key: value in a against value in b`.
pub fn differences(a: &RunConfig, b: &RunConfig) -> Vec<String> {
    let tree = |run| serde_json::to_value(run).unwrap_or_default();
    let mut found = Vec::new();
    compare("", &tree(a), &tree(b), &mut found);
    found
}

fn compare(path: &str, a: &serde_json::Value, b: &serde_json::Value, found: &mut Vec<String>) {
    match (a.as_object(), b.as_object()) {
        (Some(x), Some(y)) if x.keys().eq(y.keys()) => {
            let dot = if path.is_empty() { "" } else { "." };
            x.iter().for_each(|(key, value)| compare(&format!("{path}{dot}{key}"), value, &y[key], found));
        }
        _ if a == b => {}
        _ => found.push(format!("{path}: {} against {}", shown(a), shown(b))),
    }
}

/// A value as a person would write it: an f32 without the digits that widening to f64 adds.
fn shown(value: &serde_json::Value) -> String {
    match value.as_f64() {
        _ if value.is_null() => "unset".into(),
        Some(x) if value.is_f64() && f64::from(x as f32) == x => (x as f32).to_string(),
        _ => value.to_string(),
    }
}
