//! Validates every shader with naga and writes the Rust side of its interface: `Params` structs and binding lists.
//! WGSL is the only source of a layout. Puts the browser page into release builds.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use naga::{
    AddressSpace, ArraySize, Scalar, ScalarKind, StorageAccess, TypeInner, VectorSize,
    back::{hlsl, msl},
    proc::{BoundsCheckPolicies, BoundsCheckPolicy},
    valid,
};

#[path = "src/kernels/specialise.rs"]
#[allow(dead_code)]
mod specialise;
#[path = "src/kernels/table.rs"]
#[allow(dead_code)]
mod table;

use table::{Epilogue, Feature, Row, TABLE};

fn main() {
    println!("cargo:rerun-if-changed=src/kernels/specialise.rs");
    println!("cargo:rerun-if-changed=src/kernels/table.rs");
    let mut rust = String::new();
    let mut all = String::new();
    for row in TABLE {
        writeln!(
            rust,
            "/// `shaders/{}.wgsl` as the table's `{}` has it.\npub mod {} {{\nuse super::*;",
            row.body, row.name, row.name
        )
        .unwrap();
        for epilogue in row.epilogues {
            let entries = emit(row, epilogue, &mut rust);
            entries.iter().for_each(|entry| write!(all, "&{}::{entry}, ", row.name).unwrap());
        }
        writeln!(rust, "}}").unwrap();
    }
    writeln!(rust, "/// Every entry point of every kernel.\npub static ALL: &[&Kernel] = &[{all}];").unwrap();
    let out = env::var("OUT_DIR").expect("OUT_DIR");
    fs::write(Path::new(&out).join("shaders.rs"), rust).expect("writing shaders.rs");
    fs::write(Path::new(&out).join("page.rs"), page()).expect("writing page.rs");
}

/// `PAGE`, the files of web/dist: in release builds of the program, where the page has been assembled; otherwise empty.
fn page() -> String {
    let held =
        env::var("PROFILE").as_deref() == Ok("release") && env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("wasm32");
    let mut files = Vec::new();
    if held {
        let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("CARGO_MANIFEST_DIR")).join("web/dist");
        // Cargo would build anew each time if the folder that it is to watch were missing.
        println!("cargo:rerun-if-changed={}", if root.is_dir() { "web/dist" } else { "web" });
        list(&root, "", &mut files);
        files.sort();
    }
    let mut rust = String::from("static PAGE: &[(&str, &[u8])] = &[\n");
    files.iter().for_each(|(path, file)| writeln!(rust, "({path:?}, include_bytes!({file:?})),").unwrap());
    rust + "];\n"
}

/// Path below the root, with `/`, and path on the disk of every file in `folder`.
fn list(folder: &Path, path: &str, files: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.path().is_dir() {
            list(&entry.path(), &format!("{path}{name}/"), files);
        } else {
            files.push((format!("{path}{name}"), entry.path()));
        }
    }
}

/// Refuses `var name: T;` in a loop: in Chromium on SwiftShader such a variable keeps what the last turn left in it, though
/// WGSL says that it is zero in each. `var name = T();` is zero everywhere. (All inner blocks are held to this.)
fn require_initial_values(path: &str, source: &str) {
    let code: String =
        source.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect();
    let mut depth = 0;
    for piece in code.split_inclusive(['{', '}', ';']).map(str::trim) {
        let bare = piece.starts_with("var ") && piece.ends_with(';') && !piece.contains('=');
        assert!(depth < 2 || !bare, "{path}: `{piece}` needs an initial value, as it stands in an inner block");
        match piece.chars().last() {
            Some('{') => depth += 1,
            Some('}') => depth -= 1,
            _ => {}
        }
    }
}

/// Whether this is the page's library, which is downloaded.
fn for_browsers() -> bool {
    env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32")
}

/// The text without remarks and empty lines: a third of it. `// unroll` is none.
fn without_remarks(source: &str) -> String {
    let code = |line: &str| match line.trim() == "// unroll" {
        true => line.to_owned(),
        false => line.split("//").next().unwrap_or_default().trim_end().to_owned(),
    };
    source.lines().map(code).filter(|line| !line.is_empty()).map(|line| line + "\n").collect()
}

/// Validates a row of the table with one of its epilogues, as it stands and with its loops unrolled, then writes what is in
/// its module.
fn emit(row: &Row, epilogue: &Epilogue, rust: &mut String) -> Vec<String> {
    let plain = epilogue.0.is_empty();
    let name = if plain { row.name.to_string() } else { format!("{}+{}", row.name, epilogue.0) };
    let path = format!("shaders/{}.wgsl as {name}", row.body);
    let read = |p: &str| {
        println!("cargo:rerun-if-changed=shaders/{p}");
        fs::read_to_string(Path::new("shaders").join(p)).unwrap_or_else(|e| panic!("shaders/{p}: {e}"))
    };
    let mut source = table::text(row, epilogue, &read, specialise::include);
    if for_browsers() {
        source = without_remarks(&source);
    }
    require_initial_values(&path, &source);
    let (module, info) = validate(&path, &specialise::unroll(&source), row.needs);
    translate(&path, &module, &info, row.needs);
    if !row.only_unrolled() {
        validate(&path, &source, row.needs);
    }

    let bound = |class: &dyn Fn(AddressSpace) -> bool| {
        let mut list: Vec<_> =
            module.global_variables.iter().filter(|(_, v)| v.binding.is_some() && class(v.space)).collect();
        list.sort_by_key(|(_, v)| v.binding.as_ref().map(|b| b.binding));
        list
    };
    let suffix = if plain { String::new() } else { format!("_{}", epilogue.0.to_uppercase()) };
    let native = [Feature::Subgroups, Feature::Int64, Feature::CooperativeMatrix];
    if for_browsers() && row.needs.iter().any(|feature| native.contains(feature)) {
        // No browser's device says that it has these: nothing asks for the text.
        source.clear();
    }
    writeln!(rust, "const SOURCE{suffix}: &str = {source:?};").unwrap();
    let uniforms = bound(&|space| space == AddressSpace::Uniform);
    for (_, variable) in uniforms.into_iter().filter(|_| plain) {
        let TypeInner::Struct { members, .. } = &module.types[variable.ty].inner else {
            panic!("{path}: params is not a struct")
        };
        writeln!(rust, "/// The uniform parameters of `{path}`.\n#[repr(C)]\n#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]\n#[allow(missing_docs)]\npub struct Params {{").unwrap();
        let is_four = |base| {
            let four = TypeInner::Vector { size: VectorSize::Quad, scalar: Scalar::U32 };
            module.types[base].inner == four
        };
        for member in members {
            let kind = match module.types[member.ty].inner {
                TypeInner::Scalar(s) if s.width == 4 && s.kind == ScalarKind::Uint => "u32".to_owned(),
                TypeInner::Scalar(s) if s.width == 4 && s.kind == ScalarKind::Float => "f32".into(),
                TypeInner::Array { base, size: ArraySize::Constant(count), stride: 16 } if is_four(base) => {
                    format!("[[u32; 4]; {count}]")
                }
                _ => panic!("{path}: Params may hold only u32, f32 and arrays of vec4<u32>"),
            };
            writeln!(rust, "pub {}: {kind},", member.name.as_deref().expect("a named member")).unwrap();
        }
        writeln!(rust, "}}").unwrap();
    }
    let mut entries = Vec::new();
    for (index, entry) in module.entry_points.iter().enumerate() {
        let used = info.get_entry_point(index);
        let mut bindings = String::new();
        for (handle, variable) in bound(&|space| matches!(space, AddressSpace::Storage { .. })) {
            if used[handle].is_empty() {
                continue;
            }
            let AddressSpace::Storage { access } = variable.space else { unreachable!() };
            let binding = variable.binding.as_ref().map(|b| b.binding).expect("bound");
            let write = access.contains(StorageAccess::STORE);
            write!(
                bindings,
                "Binding {{ index: {binding}, name: {:?}, write: {write} }}, ",
                variable.name.as_deref().unwrap_or("")
            )
            .unwrap();
        }
        let constant = entry.name.to_uppercase() + &suffix;
        writeln!(rust, "/// Entry point `{}` of `{path}`.\npub static {constant}: Kernel = Kernel {{ name: {name:?}, entry: {:?}, source: SOURCE{suffix}, bindings: &[{bindings}] }};", entry.name, entry.name).unwrap();
        entries.push(constant);
    }
    let held: Vec<_> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
    assert!(held == row.entries, "{path} has the entry points {held:?}");
    entries
}

/// Translates a module to what Metal and DirectX 12 take, as wgpu does there: what does not pass breaks here, not on a
/// user's machine. DirectX 12 has no cooperative matrices in naga, and wgpu does not offer them there.
fn translate(path: &str, module: &naga::Module, info: &valid::ModuleInfo, needs: &[Feature]) {
    for entry in &module.entry_points {
        let named = Some((entry.stage, entry.name.clone()));
        for policy in [BoundsCheckPolicy::Restrict, BoundsCheckPolicy::Unchecked] {
            let options = msl::Options {
                lang_version: (2, 4),
                bounds_check_policies: BoundsCheckPolicies { index: policy, buffer: policy, ..Default::default() },
                zero_initialize_workgroup_memory: false,
                force_loop_bounding: policy == BoundsCheckPolicy::Restrict,
                ..Default::default()
            };
            let entry = msl::PipelineOptions { entry_point: named.clone(), ..Default::default() };
            msl::write_string(module, info, &options, &entry).unwrap_or_else(|e| panic!("{path} in MSL: {e}"));
        }
        if !needs.contains(&Feature::CooperativeMatrix) {
            let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_2, ..Default::default() };
            let entry = hlsl::PipelineOptions { entry_point: named };
            let mut text = String::new();
            let written = hlsl::Writer::new(&mut text, &options, &entry).write(module, info, None);
            written.unwrap_or_else(|e| panic!("{path} in HLSL: {e}"));
        }
    }
}

fn validate(path: &str, source: &str, needs: &[Feature]) -> (naga::Module, valid::ModuleInfo) {
    let module =
        naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string_with_path(source, path)));
    // Part of WebGPU's core: two halves in 32 bits.
    let mut capabilities = valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    for feature in needs {
        capabilities |= match feature {
            Feature::Subgroups => valid::Capabilities::SUBGROUP,
            Feature::Int64 => valid::Capabilities::SHADER_INT64,
            Feature::F16 => valid::Capabilities::SHADER_FLOAT16,
            Feature::CooperativeMatrix => valid::Capabilities::COOPERATIVE_MATRIX,
        };
    }
    let info = valid::Validator::new(valid::ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string_with_path(source, path)));
    (module, info)
}
