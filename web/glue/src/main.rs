//! `glue INPUT.wasm OUTDIR`: writes the JavaScript that lets a browser load the wasm build of the library.
//!
//! It is the wasm-bindgen generator as a workspace member, so that its version always equals the one the library was
//! compiled with: the two must match exactly.

use std::{env, error::Error, path::Path, process::ExitCode};
use wasm_bindgen_cli_support::Bindgen;

const USAGE: &str = "usage: glue INPUT.wasm OUTDIR";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("glue: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let (Some(input), Some(folder), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(USAGE.into());
    };
    let input = Path::new(&input);
    if !input.is_file() {
        return Err(format!("{} does not exist; build it first with `make wasm`", input.display()).into());
    }
    let mut bindgen = Bindgen::new();
    // `init()` without an argument then loads the .wasm file beside the script.
    bindgen.input_path(input).web(true)?.omit_default_module_path(false).typescript(false);
    // Names of functions are a tenth of the download; what a panic says has its place in the source.
    bindgen.remove_name_section(true);
    bindgen.generate(folder).map_err(|error| {
        format!("{error:#}\nIf a version differs, run `cargo update -p wasm-bindgen -p wasm-bindgen-cli-support`.")
            .into()
    })
}
