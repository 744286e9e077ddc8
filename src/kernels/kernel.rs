//! An entry point of a shader as the Rust side sees it.

use super::{
    specialise,
    table::{Row, TABLE},
};

/// A storage buffer that an entry point uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its `@binding` number in group 0.
    pub index: u32,
    /// Its name in the shader.
    pub name: &'static str,
    /// Whether it is declared `read_write`.
    pub write: bool,
}

/// One entry point of one line of the table.
#[derive(Debug)]
pub struct Kernel {
    /// The line's name, with its epilogue's after a `+`.
    pub name: &'static str,
    /// The entry point's name.
    pub entry: &'static str,
    /// The body's text with its includes in place.
    pub source: &'static str,
    /// Its storage bindings by rising number.
    pub bindings: &'static [Binding],
}

/// A value for a module-scope constant of a shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Constant {
    /// The constant's name in the shader.
    pub name: &'static str,
    /// Its value.
    pub value: u32,
}

impl Kernel {
    /// Its line of the table.
    pub fn row(&self) -> &'static Row {
        let name = self.name.split('+').next().unwrap_or_default();
        TABLE.iter().find(|row| row.name == name).expect("kernels are the table's")
    }

    /// `name.entry`, for profiles and messages.
    pub fn label(&self) -> String {
        format!("{}.{}", self.name, self.entry)
    }

    /// The text for the driver, from this kernel's source or what was made of it: this entry point alone, constants set,
    /// loops unrolled.
    pub fn text(&self, source: &str, constants: &[Constant]) -> String {
        let text = constants.iter().fold(specialise::entry(source, self.entry), |text, c| {
            specialise::constant(&text, c.name, &format!("{}u", c.value))
        });
        specialise::unroll(&text)
    }
}
