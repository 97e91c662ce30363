//! The import rule of `src/lib.rs`, held by reading the sources: `cli -> app -> {boundaries} -> patterns`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const ROOMS: [&str; 2] = ["cli", "app"];
/// Each a way out of the process; those that are not built yet are held to the rule from their first line on.
const BOUNDARIES: [&str; 6] = ["kafka", "broker", "store", "grpc", "notify", "web"];

/// A source file: which room it is in, where it is within `src`, and its text without comments and strings.
struct Source {
    room: String,
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).expect("a file within src");
                let first = inside.iter().next().and_then(|first| first.to_str()).expect("a name");
                let text = std::fs::read_to_string(&path).expect("a source");
                let (room, path) = (first.trim_end_matches(".rs").to_owned(), inside.to_owned());
                sources.push(Source { room, text: code(&text), path });
            }
        }
    }
    assert!(sources.len() > 30, "only {} sources", sources.len());
    sources
}

/// The code alone: line comments go, strings are emptied. Enough for a house whose style rustfmt keeps.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let mut rest = line;
        loop {
            let quote = rest.find('"').filter(|at| !rest[..*at].ends_with('\'') && !rest[..*at].ends_with('\\'));
            let comment = rest.find("//").filter(|at| quote.is_none_or(|quote| *at < quote));
            if let Some(comment) = comment {
                code.push_str(&rest[..comment]);
                break;
            }
            let Some(quote) = quote else {
                code.push_str(rest);
                break;
            };
            code.push_str(&rest[..quote]);
            code.push_str("\"\"");
            // to the closing quote, or to the end of the line where the string goes on
            let inside = &rest[quote + 1..];
            let mut escaped = false;
            let end = inside.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = end.map_or("", |end| &inside[end + 1..]);
        }
        code.push('\n');
    }
    code
}

/// The rooms of this crate that a source names by a path from the crate's root, in whatever form: `crate::kafka::Error`,
/// `use crate::{kafka, app::Error}`, `super::super::kafka` from a room's first level on.
fn named_rooms(source: &Source) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in source.text.match_indices("crate::") {
        let rest = &source.text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => named.extend(first_word(rest)),
            Some(group) => named.extend(group_heads(group)),
        }
    }
    // how often `super` must stand before it leaves the room
    let parts = source.path.iter().count();
    let depth = if source.path.file_name().is_some_and(|name| name == "mod.rs") { parts - 1 } else { parts };
    let out = "super::".repeat(depth);
    for (at, _) in source.text.match_indices(&out) {
        if !source.text[..at].ends_with("super::") {
            let rest = &source.text[at + out.len()..];
            let heads = rest.strip_prefix('{').map_or_else(|| first_word(rest).into_iter().collect(), group_heads);
            named.extend(heads);
        }
    }
    named
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// The first words of a `{...}` group, nested groups passed over.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && depth == 0 && !c.is_whitespace() => {
                heads.extend(first_word(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    heads
}

/// Every source of `room` that names one of `forbidden`.
fn offenders(room: &str, forbidden: &[&str]) -> Vec<String> {
    let sources = sources().into_iter().filter(|source| source.room == room);
    let named = sources.flat_map(|source| {
        let path = source.path.display().to_string();
        named_rooms(&source).into_iter().map(move |name| (name, path.clone()))
    });
    named.filter(|(name, _)| forbidden.contains(&name.as_str())).map(|(name, path)| format!("{path}: {name}")).collect()
}

/// Every source of `room` that has one of `words` in its code, outside of its tests.
fn speakers(room: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    // the tests of a module stand at its end, in a file `tests.rs`, or in a folder `tests`
    let is_test = |path: &Path| path.iter().any(|part| part == "tests" || part == "tests.rs");
    let is_code = |source: &Source| source.room == room && !is_test(&source.path);
    for source in sources().into_iter().filter(is_code) {
        let code = source.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for word in words.iter().filter(|word| code.contains(**word)) {
            found.push(format!("{}: {word}", source.path.display()));
        }
    }
    found
}

const NONE: [String; 0] = [];

#[test]
fn cli_reaches_the_boundaries_through_app_alone() {
    assert_eq!(offenders("cli", &BOUNDARIES), NONE);
    assert_eq!(speakers("cli", &["rskafka", "kafka_protocol"]), NONE);
}

#[test]
fn app_knows_neither_clap_nor_the_screen() {
    assert_eq!(offenders("app", &["cli"]), NONE);
    let screen =
        ["clap", "println!", "eprintln!", "print!", "stdout()", "stderr()", "owo_colors", "indicatif", "color_eyre"];
    assert_eq!(speakers("app", &screen), NONE);
}

#[test]
fn boundaries_import_neither_each_other_nor_upwards() {
    for boundary in BOUNDARIES {
        let forbidden: Vec<&str> = BOUNDARIES.into_iter().chain(ROOMS).filter(|room| *room != boundary).collect();
        assert_eq!(offenders(boundary, &forbidden), NONE);
        assert_eq!(speakers(boundary, &["clap", "println!", "eprintln!", "color_eyre"]), NONE);
    }
}

#[test]
fn sql_is_spoken_in_the_store_alone() {
    let drivers = ["rusqlite", "tokio_postgres", "deadpool", "refinery"];
    let rooms: BTreeSet<String> = sources().into_iter().map(|source| source.room).collect();
    for room in rooms.iter().filter(|room| *room != "store") {
        assert_eq!(speakers(room, &drivers), NONE);
    }
}

#[test]
fn patterns_are_pure() {
    let forbidden: Vec<&str> = BOUNDARIES.into_iter().chain(ROOMS).collect();
    assert_eq!(offenders("patterns", &forbidden), NONE);
    let world = [
        "tokio",
        "rskafka",
        "kafka_protocol",
        "sqlx",
        "rusqlite",
        "SystemTime",
        "Instant::now",
        "now_utc",
        "async fn",
        "std::fs",
        "std::net",
        "std::env",
        "println!",
    ];
    assert_eq!(speakers("patterns", &world), NONE);
}

#[test]
fn every_room_is_on_the_map() {
    let known: BTreeSet<&str> = ROOMS.into_iter().chain(BOUNDARIES).chain(["patterns", "lib", "main"]).collect();
    let rooms: BTreeSet<String> = sources().into_iter().map(|source| source.room).collect();
    let strangers: Vec<_> = rooms.iter().filter(|room| !known.contains(room.as_str())).collect();
    assert_eq!(strangers, Vec::<&String>::new(), "tell this file which rule they are under");
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("src/lib.rs");
    for room in rooms.iter().filter(|room| !["lib", "main"].contains(&room.as_str())) {
        assert!(map.contains(&format!("//! | [`{room}`] |")), "{room} is not in the map of src/lib.rs");
    }
}

#[test]
fn the_reader_of_sources_sees_what_it_must() {
    let source = |path: &str, text: &str| Source { room: String::new(), path: path.into(), text: code(text) };
    let rooms = |path: &str, text: &str| named_rooms(&source(path, text)).into_iter().collect::<Vec<_>>().join(" ");
    let text = "use crate::{\n    app::{self, x::kafka},\n    store,\n};\nfn f() { crate::grpc::call(\"crate::web\") } // crate::broker";
    assert_eq!(rooms("cli/a.rs", text), "app grpc store");
    assert_eq!(rooms("cli/a.rs", "use super::super::kafka::Error;\nuse super::exit;"), "kafka");
    assert_eq!(rooms("cli/mod.rs", "use super::{kafka::Error, app};"), "app kafka");
    assert_eq!(rooms("cli/produce/feed.rs", "use super::super::{escape};\nsuper::super::super::kafka::x()"), "kafka");
    assert_eq!(rooms("broker.rs", "use super::kafka;"), "kafka");
}
