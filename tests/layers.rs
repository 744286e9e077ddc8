//! Imports go down: every path in `src/` that names another room of the crate must name one below, and no two files
//! need each other. Rooms are the modules of the crate's root.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{Item, UseTree, visit::Visit};

/// The rooms from the ground up. A room may import from those of earlier lines, and from itself.
const LAYERS: &[&[&str]] = &[
    &["text", "rng", "shape"],
    &["error"],
    &["dist", "durable", "formats"],
    &["kernels"],
    &["device"],
    &["graph"],
    &["ops"],
    &["lower"],
    &["exec"],
    &["nn", "data"],
    &["model"],
    &["tasks"],
    &["train"],
    &["report"],
    &["checkpoint"],
    &["interop"],
    &["infer"],
    &["check", "run"],
    &["cli", "web"],
];

/// A path, segment by segment.
type Segments = Vec<String>;

/// What the modules of the crate define and re-export.
#[derive(Default)]
struct Crate {
    /// The file of each module; inline modules have that of the module around them.
    files: BTreeMap<Segments, PathBuf>,
    /// The names that a module defines.
    defined: BTreeMap<Segments, BTreeSet<String>>,
    /// The names that a module imports or re-exports, with the path that stands there.
    imported: BTreeMap<Segments, BTreeMap<String, Segments>>,
    /// The modules whose names a module imports all.
    globs: BTreeMap<Segments, Vec<Segments>>,
}

/// A path in a file.
struct Named {
    /// The module that it stands in.
    module: Segments,
    path: Segments,
    /// Whether it ends in `*`.
    glob: bool,
    /// Whether it stands in a test.
    test: bool,
}

/// Collects the paths of a file. A re-export is none: whoever uses it imports what it stands for.
struct Paths {
    module: Segments,
    test: bool,
    found: Vec<Named>,
}

/// What a `use` names: path, the name it gives, and whether it ends in `*`.
fn leaves(tree: &UseTree, before: &[String], out: &mut Vec<(Segments, String, bool)>) {
    let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &with(&path.ident), out),
        UseTree::Name(name) if name.ident == "self" => {
            out.push((before.to_vec(), before.last().cloned().unwrap_or_default(), false));
        }
        UseTree::Name(name) => out.push((with(&name.ident), name.ident.to_string(), false)),
        UseTree::Rename(name) if name.ident == "self" => {
            out.push((before.to_vec(), name.rename.to_string(), false));
        }
        UseTree::Rename(name) => out.push((with(&name.ident), name.rename.to_string(), false)),
        UseTree::Glob(_) => out.push((before.to_vec(), String::new(), true)),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, out)),
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let text = list.tokens.to_string().replace(' ', "");
            text == "test" || text.starts_with("all(test,")
        }
        _ => false,
    })
}

fn name(item: &Item) -> Option<&syn::Ident> {
    match item {
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Const(item) => Some(&item.ident),
        Item::Static(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        _ => None,
    }
}

impl Crate {
    fn add(&mut self, module: &[String], items: &[Item], file: &Path) {
        self.files.insert(module.to_vec(), file.into());
        for item in items {
            if let Some(name) = name(item) {
                self.defined.entry(module.to_vec()).or_default().insert(name.to_string());
            }
            match item {
                Item::Use(item) => {
                    let mut names = Vec::new();
                    leaves(&item.tree, &[], &mut names);
                    for (path, name, glob) in names {
                        match glob {
                            true => self.globs.entry(module.to_vec()).or_default().push(path),
                            false => drop(self.imported.entry(module.to_vec()).or_default().insert(name, path)),
                        }
                    }
                }
                Item::Mod(item) => {
                    if let Some((_, inner)) = &item.content {
                        self.add(&[module, &[item.ident.to_string()]].concat(), inner, file);
                    }
                }
                _ => {}
            }
        }
    }

    /// A path from the crate's root on, if it leads into the crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Segments> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let up = path.iter().take_while(|segment| *segment == "super").count();
                Some([module.get(..module.len().checked_sub(up)?)?, &path[up..]].concat())
            }
            _ => {
                let child = [module, std::slice::from_ref(first)].concat();
                let imported = self.imported.get(module).is_some_and(|names| names.contains_key(first));
                (self.files.contains_key(&child) || imported).then(|| [module, path].concat())
            }
        }
    }

    /// The file that defines what an absolute path names, re-exports followed.
    fn file(&self, path: &[String]) -> Option<&Path> {
        let mut module: Segments = Vec::new();
        for (at, segment) in path.iter().enumerate() {
            let child = [&module[..], std::slice::from_ref(segment)].concat();
            if self.files.contains_key(&child) {
                module = child;
                continue;
            }
            let follow = |module: &[String], target: &[String]| {
                let target = self.absolute(module, target)?;
                // What an import of the same name names is no part of the crate.
                (target != child).then(|| self.file(&[&target[..], &path[at + 1..]].concat())).flatten()
            };
            if let Some(target) = self.imported.get(&module).and_then(|names| names.get(segment)) {
                return follow(&module, target);
            }
            if !self.defined.get(&module).is_some_and(|names| names.contains(segment)) {
                let among = self.globs.get(&module).into_iter().flatten();
                let held = |glob: &Segments| {
                    let glob = self.absolute(&module, glob)?;
                    let holds = self.defined.get(&glob).is_some_and(|names| names.contains(segment))
                        || self.imported.get(&glob).is_some_and(|names| names.contains_key(segment));
                    holds.then(|| self.file(&[&glob[..], &path[at..]].concat())).flatten()
                };
                if let Some(found) = among.filter_map(held).next() {
                    return Some(found);
                }
            }
            break;
        }
        self.files.get(&module).map(PathBuf::as_path)
    }

    /// The files that a path in a file names.
    fn targets(&self, named: &Named) -> Vec<&Path> {
        let Some(path) = self.absolute(&named.module, &named.path) else { return Vec::new() };
        if !named.glob {
            return self.file(&path).into_iter().collect();
        }
        let names = self.imported.get(&path).into_iter().flat_map(|names| names.keys());
        let imported = names.filter_map(|name| self.file(&[&path[..], std::slice::from_ref(name)].concat()));
        let own = self.files.get(&path).filter(|_| self.defined.contains_key(&path)).map(PathBuf::as_path);
        let own = own.or_else(|| self.file(&path).filter(|_| !self.files.contains_key(&path)));
        imported.chain(own).collect()
    }
}

impl<'a> Visit<'a> for Paths {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        let before = (self.module.clone(), self.test);
        if item.content.is_some() {
            self.module.push(item.ident.to_string());
        }
        self.test |= is_test(&item.attrs);
        syn::visit::visit_item_mod(self, item);
        (self.module, self.test) = before;
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        let before = self.test;
        self.test |= is_test(&item.attrs);
        syn::visit::visit_item_fn(self, item);
        self.test = before;
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if !matches!(item.vis, syn::Visibility::Inherited) {
            return;
        }
        let mut names = Vec::new();
        leaves(&item.tree, &[], &mut names);
        let test = self.test || is_test(&item.attrs);
        let named = |(path, _, glob)| Named { module: self.module.clone(), path, glob, test };
        self.found.extend(names.into_iter().map(named));
    }

    /// Who may see an item is no import.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.segments.len() > 1 {
            let path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.found.push(Named { module: self.module.clone(), path, glob: false, test: self.test });
        }
        syn::visit::visit_path(self, path);
    }
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of src").flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// Files, and which others each needs: the path that names it, and whether tests alone do.
type Needs = BTreeMap<PathBuf, BTreeMap<PathBuf, (String, bool)>>;

fn needs() -> Needs {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    files.sort();
    let (mut all, mut parsed) = (Crate::default(), Vec::new());
    for path in &files {
        let file = path.strip_prefix(&root).expect("below src").to_path_buf();
        let without = file.with_extension("");
        let mut module: Segments = without.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        module.pop_if(|last| *last == "mod" || *last == "lib");
        if module != ["main"] {
            let text = fs::read_to_string(path).expect("a readable file");
            let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            all.add(&module, &syntax.items, &file);
            parsed.push((module, file, syntax));
        }
    }
    let mut needs = Needs::new();
    for (module, file, syntax) in parsed {
        let mut paths = Paths { module, test: false, found: Vec::new() };
        paths.visit_file(&syntax);
        let needed = needs.entry(file.clone()).or_default();
        for named in &paths.found {
            for target in all.targets(named).into_iter().filter(|target| *target != file) {
                let (text, test) = needed.entry(target.into()).or_insert((named.path.join("::"), named.test));
                if *test && !named.test {
                    (*text, *test) = (named.path.join("::"), false);
                }
            }
        }
    }
    needs
}

/// The room of a file, and how high it lies.
fn room(file: &Path) -> (String, usize) {
    let room = file.iter().next().expect("a name").to_string_lossy().trim_end_matches(".rs").to_owned();
    let layer = LAYERS.iter().position(|rooms| rooms.contains(&room.as_str()));
    (room.clone(), layer.unwrap_or_else(|| panic!("{} is in a room without a layer: add it to LAYERS", file.display())))
}

#[test]
fn imports_go_down() {
    let mut wrong = Vec::new();
    for (file, needed) in needs().iter().filter(|(file, _)| file.as_path() != Path::new("lib.rs")) {
        for (target, (path, _)) in needed.iter().filter(|(target, _)| target.as_path() != Path::new("lib.rs")) {
            let ((from, high), (to, low)) = (room(file), room(target));
            if from != to && low >= high {
                wrong.push(format!("{} imports {path} from {}", file.display(), target.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn no_two_files_need_each_other() {
    let needs = needs();
    let reached = |from: &PathBuf| {
        let (mut seen, mut stack) = (BTreeSet::new(), vec![from]);
        while let Some(file) = stack.pop() {
            for (target, _) in needs.get(file).into_iter().flatten().filter(|(_, (_, test))| !test) {
                if seen.insert(target.clone()) {
                    stack.push(target);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&PathBuf, BTreeSet<PathBuf>> = needs.keys().map(|file| (file, reached(file))).collect();
    let mut wrong = Vec::new();
    for (file, needed) in &needs {
        for (target, (path, test)) in needed {
            if !test && reached.get(target).is_some_and(|back| back.contains(file)) {
                wrong.push(format!(
                    "{} needs {path} from {}, which leads back to it",
                    file.display(),
                    target.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "files that need each other:\n{}", wrong.join("\n"));
}
