//! The four textual steps between a shader file and the driver: includes, one entry point, constants, unrolled loops.
//! Nothing else but the table's swaps is ever done to WGSL text, and a file is valid WGSL before and after each step, or once
//! its loops are unrolled. `build.rs` uses this same module.

/// Replaces every `#include "common/name.wgsl"` line by the text that `read` returns for `common/name.wgsl`.
pub fn include(source: &str, read: &dyn Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(source.len());
    for line in source.lines() {
        match line.trim().strip_prefix("#include \"").and_then(|rest| rest.strip_suffix('"')) {
            Some(name) => out.push_str(include(&read(name), read).trim_end()),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Gives the module-scope constant `name` the value `value` (WGSL text): `const TILE: u32 = 8u;` becomes
/// `const TILE: u32 = 4u;`. Panics when the file has no such line, which is a programming error.
pub fn constant(source: &str, name: &str, value: &str) -> String {
    let head = format!("const {name}:");
    let mut found = false;
    let lines = source.lines().map(|line| {
        if !line.starts_with(&head) {
            return line.to_string();
        }
        found = true;
        let kind = line[head.len()..].split('=').next().unwrap_or_default().trim();
        format!("{head} {kind} = {value};")
    });
    let text = lines.collect::<Vec<_>>().join("\n") + "\n";
    assert!(found, "the shader has no line `{head} … = …;`");
    text
}

/// Leaves out all entry points but `name`, which compilers need not read.
pub fn entry(source: &str, name: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("\n@compute") {
        let head = at + rest[at..].find("\nfn ").expect("a function under `@compute`") + "\nfn ".len();
        let close = matching_brace(rest, head + rest[head..].find('{').expect("a function's body"));
        let wanted = rest[head..].strip_prefix(name).is_some_and(|after| after.starts_with('('));
        text.push_str(if wanted { &rest[..=close] } else { &rest[..at] });
        rest = &rest[close + 1..];
    }
    text + rest
}

/// Expands every loop under a line `// unroll`. The loop must read `for (var i = 0u; i < LIMIT; i++) {`, where LIMIT is
/// computed from literals and module-scope constants `const NAME: u32 = …;`; it becomes blocks `{ const i = 0u; … }`,
/// `{ const i = 1u; … }`. The last loop of the text comes first, since no other lies in it: what is searched stays short until
/// the outermost are expanded.
pub fn unroll(source: &str) -> String {
    let mut text = source.to_string();
    while let Some(at) = text.rfind("// unroll") {
        let start = at + text[at..].find("for (var ").expect("a `for` loop under `// unroll`");
        let open = start + text[start..].find('{').expect("an opening brace");
        let close = matching_brace(&text, open);
        let head = &text[start..open];
        let variable = head["for (var ".len()..].split([' ', '=']).next().unwrap_or_default();
        let limit = head.split('<').nth(1).and_then(|t| t.split(';').next()).map(str::trim);
        let count = limit.and_then(|limit| value(source, limit));
        let count =
            count.unwrap_or_else(|| panic!("cannot unroll `{head}`: its limit is no sum or product of constants"));
        let body = &text[open + 1..close];
        let blocks: String = (0..count).map(|i| format!("{{ const {variable} = {i}u; {body}}}\n")).collect();
        text = format!("{}{}{}", &text[..at], blocks, &text[close + 1..]);
    }
    text
}

/// The value of a sum, product, quotient or difference of literals and of the source's module-scope constants.
pub fn value(source: &str, expression: &str) -> Option<u32> {
    let mut rest = expression;
    sum(source, &mut rest).filter(|_| rest.trim().is_empty())
}

fn sum(source: &str, rest: &mut &str) -> Option<u32> {
    let mut left = product(source, rest)?;
    loop {
        left = match rest.trim_start().chars().next() {
            Some('+') => left.checked_add(next(rest, |rest| product(source, rest))?)?,
            Some('-') => left.checked_sub(next(rest, |rest| product(source, rest))?)?,
            _ => return Some(left),
        };
    }
}

fn product(source: &str, rest: &mut &str) -> Option<u32> {
    let mut left = term(source, rest)?;
    loop {
        left = match rest.trim_start().chars().next() {
            Some('*') => left.checked_mul(next(rest, |rest| term(source, rest))?)?,
            Some('/') => left.checked_div(next(rest, |rest| term(source, rest))?)?,
            Some('%') => left.checked_rem(next(rest, |rest| term(source, rest))?)?,
            _ => return Some(left),
        };
    }
}

/// What follows an operator or parenthesis.
fn next(rest: &mut &str, read: impl Fn(&mut &str) -> Option<u32>) -> Option<u32> {
    *rest = &rest.trim_start()[1..];
    read(rest)
}

fn term(source: &str, rest: &mut &str) -> Option<u32> {
    *rest = rest.trim_start();
    if rest.starts_with('(') {
        let inner = next(rest, |rest| sum(source, rest))?;
        *rest = rest.trim_start().strip_prefix(')')?;
        return Some(inner);
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        return word.trim_end_matches('u').parse().ok();
    }
    let head = format!("const {word}:");
    let line = source.lines().find(|line| line.starts_with(&head))?;
    value(source, line.split('=').nth(1)?.split(';').next()?)
}

fn matching_brace(text: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in text[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at;
        }
    }
    panic!("unbalanced braces in a shader");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_replaced_by_name_only() {
        let text = "const TILE: u32 = 8u;\nconst TILE_K: u32 = 2u;\n";
        assert_eq!(constant(text, "TILE", "4u"), "const TILE: u32 = 4u;\nconst TILE_K: u32 = 2u;\n");
    }

    #[test]
    fn the_other_entry_points_are_left_out() {
        let text = |names: &[&str]| {
            let entry =
                |name: &&str| format!("\n@compute @workgroup_size(1)\nfn {name}(x: u32) {{ if true {{ f(); }} }}\n");
            let entries: String = names.iter().map(entry).collect();
            format!("fn f() {{}}\n{entries}fn g() {{}}\n")
        };
        let whole = text(&["forward", "forward_gelu", "backward"]);
        for name in ["forward", "forward_gelu", "backward"] {
            let alone = entry(&whole, name);
            assert_eq!(
                alone.split_whitespace().collect::<Vec<_>>(),
                text(&[name]).split_whitespace().collect::<Vec<_>>()
            );
        }
    }

    #[test]
    #[should_panic(expected = "no line `const MISSING:")]
    fn an_unknown_constant_is_refused() {
        constant("const TILE: u32 = 8u;\n", "MISSING", "1u");
    }

    #[test]
    fn nested_loops_unroll_to_constant_indices() {
        let text = "const N: u32 = 2u;\n// unroll\nfor (var i = 0u; i < N; i++) {\n// unroll\nfor (var j = 0u; j < 2u; j++) { a[i] += j; }\n}\n";
        let flat = unroll(text);
        assert_eq!(flat.matches("a[i] += j;").count(), 4, "{flat}");
        assert!(flat.contains("const i = 1u;") && flat.contains("const j = 1u;") && !flat.contains("for ("), "{flat}");
    }

    #[test]
    fn constants_follow_from_others() {
        let text =
            "const ROWS: u32 = 5u;\nconst LANES: u32 = 4u;\nconst TURNS: u32 = (ROWS + LANES - 1u) / LANES; // a\n";
        let of = |expression| value(text, expression);
        assert_eq!([of("TURNS"), of("ROWS * TURNS - 2u * 3u"), of("7u % LANES")], [Some(2), Some(4), Some(3)]);
        assert_eq!([of("TURN"), of("1u +"), of("(1u"), of("1u - 2u"), of("4u / (1u - 1u)"), of("1.5")], [None; 6]);
        let set = constant(text, "ROWS", "9u");
        assert_eq!(value(&set, "TURNS"), Some(3), "the value set counts");
        assert_eq!(
            unroll(&format!("{set}// unroll\nfor (var i = 0u; i < TURNS + 1u; i++) {{ f(); }}\n"))
                .matches("f();")
                .count(),
            4
        );
    }

    #[test]
    fn includes_are_expanded_where_they_stand() {
        let text = include("a\n#include \"common/b.wgsl\"\nc\n", &|name| format!("[{name}]"));
        assert_eq!(text, "a\n[common/b.wgsl]\nc\n");
    }
}
