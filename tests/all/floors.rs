//! The house: a file imports only from floors below its own, and siblings on F2 never import each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module of the filter and the floor it is on.
const FLOORS: [(&str, u8); 15] = [
    ("abi", 5),
    ("flow", 4),
    ("ports", 3),
    ("request", 2),
    ("answer", 2),
    ("identity", 2),
    ("route", 2),
    ("balance", 2),
    ("health", 2),
    ("load", 2),
    ("quota", 2),
    ("report", 2),
    ("config", 1),
    ("text", 1),
    ("values", 0),
];

#[test]
fn every_import_leads_to_a_floor_below() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("filter/src");
    let mut wrong = Vec::new();
    for (module, floor) in FLOORS {
        for file in rust_files(&sources.join(module)) {
            let text = fs::read_to_string(&file).expect("a source file");
            for imported in imported_modules(&text)
                .into_iter()
                .filter(|imported| imported != module)
            {
                match floor_of(&imported) {
                    Some(below) if below < floor => {}
                    _ => wrong.push(format!("{} imports `{imported}`", file.display())),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_of_the_filter_is_on_a_floor() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("filter/src");
    let modules: BTreeSet<String> = fs::read_dir(sources)
        .expect("the filter's sources")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name() != Some("lib.rs".as_ref()))
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(
        modules,
        FLOORS
            .iter()
            .map(|(module, _)| (*module).to_owned())
            .collect()
    );
}

#[test]
fn the_harness_never_imports_the_filter() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("the harness' manifest");
    assert!(
        !manifest.lines().any(|line| line.starts_with("filter")),
        "{manifest}"
    );
}

fn floor_of(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(known, _)| *known == module)
        .map(|(_, floor)| *floor)
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                rust_files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// The modules behind each `crate::`: one name, or those at the start of each item of a braced list.
fn imported_modules(text: &str) -> BTreeSet<String> {
    let name = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut modules = BTreeSet::new();
    for after in text.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => modules.extend([name(after)]),
            Some(list) => {
                let mut depth = 0;
                let items = list.split_inclusive(['{', '}', ',']).take_while(|item| {
                    let open = depth >= 0;
                    depth += item.matches('{').count() as i32 - item.matches('}').count() as i32;
                    open
                });
                modules.extend(
                    items
                        .map(|item| name(item.trim()))
                        .filter(|name| floor_of(name).is_some()),
                );
            }
        }
    }
    modules
}
