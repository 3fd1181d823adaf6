//! The layers of the architecture. Reads `src/` and fails when a file imports another module of its
//! own layer, or anything above it, or when files of one module import each other.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every module with its layer. A module is a directory of `src/`, or a file in it.
const LAYERS: [(&str, u8); 14] = [
    ("main", 7),
    ("cli", 6),
    ("demo", 6),
    ("run", 5),
    ("config", 4),
    ("engine", 3),
    ("input", 2),
    ("schedule", 2),
    ("fetch", 2),
    ("store", 2),
    ("report", 2),
    ("notify", 2),
    ("model", 1),
    // Only for tests: it generates inputs, and the modules have the tests that use them.
    ("fuzz", 0),
];

fn layer(module: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, layer)| *layer)
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The modules that a text names: `crate::module…`, `crate::{module…, module…}`.
fn modules_named(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut modules = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(group) => modules.extend(first_idents(group)),
            None => modules.extend(ident(after)),
        }
    }
    modules
}

fn ident(text: &str) -> Option<String> {
    let name: String = text
        .trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

/// The first name of each path in a group, up to its closing brace.
fn first_idents(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut names = Vec::new();
    let mut path = String::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {
                names.extend(ident(&path));
                path.clear();
            }
            _ => path.push(c),
        }
        if depth == 0 {
            break;
        }
    }
    names.extend(ident(&path));
    names
}

/// What is wrong with the imports of one file, given its path below `src/`.
fn complaints(file: &Path, text: &str) -> Vec<String> {
    let first = file.components().next().unwrap().as_os_str();
    let module = Path::new(first).file_stem().unwrap().to_str().unwrap();
    if module == "lib" {
        return Vec::new();
    }
    let Some(own) = layer(module) else {
        return vec![format!(
            "{}: LAYERS has no module of this name",
            file.display()
        )];
    };
    modules_named(text)
        .into_iter()
        .filter(|named| named != module)
        .filter_map(|named| match layer(&named) {
            Some(layer) if layer < own => None,
            Some(layer) => Some(format!(
                "{}: layer {own} names crate::{named}, which is on layer {layer}",
                file.display()
            )),
            None => Some(format!(
                "{}: names crate::{named}; import from the module that has it",
                file.display()
            )),
        })
        .collect()
}

#[test]
fn no_module_imports_from_its_own_layer_or_above() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&src);
    assert!(files.len() > 30, "found only {} files", files.len());
    let complaints: Vec<_> = files
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            complaints(path.strip_prefix(&src).unwrap(), &text)
        })
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The command line is a client of the library like any other.
#[test]
fn the_program_uses_only_what_the_library_shows() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = sources(&src.join("cli"));
    files.push(src.join("main.rs"));
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(modules_named(&text).is_empty(), "{}", path.display());
    }
}

#[test]
fn forbidden_imports_are_found() {
    let breach = |file: &str, text: &str| complaints(Path::new(file), text).len();
    assert_eq!(
        breach("fetch/http.rs", "use crate::model::{Attempt, WireState};"),
        0
    );
    assert_eq!(breach("fetch/http.rs", "use crate::store::MemoryStore;"), 1);
    assert_eq!(
        breach(
            "fetch/http.rs",
            "use crate::{model::Job, engine::Engine, store::{A, B}};"
        ),
        2
    );
    assert_eq!(
        breach("model/job.rs", "let x = crate::config::Config::default();"),
        1
    );
    assert_eq!(breach("fetch/http.rs", "// see crate::engine"), 0);
    assert_eq!(breach("fuzz/mod.rs", "use crate::model::Job;"), 1);
    assert_eq!(breach("helpers/mod.rs", ""), 1);
    assert_eq!(breach("demo/mod.rs", "use crate::Config;"), 1);
}

/// A name with two meanings cannot be searched for.
#[test]
fn no_type_name_is_declared_twice() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for (file, line, text) in code_lines() {
        // An associated type is indented, and repeated in every implementation of its trait.
        let indented = text.starts_with(' ');
        let mut words = text
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| {
                !word.is_empty() && !matches!(*word, "pub" | "crate" | "super" | "self")
            });
        let kind = words.next().unwrap_or_default();
        let is_type = match kind {
            "struct" | "enum" | "trait" | "union" => true,
            "type" => !indented,
            _ => false,
        };
        if let Some(name) = words.next().filter(|_| is_type) {
            let place = format!("{}:{line}", file.display());
            places.entry(name.to_owned()).or_default().push(place);
        }
    }
    let twice: Vec<_> = places.iter().filter(|(_, at)| at.len() > 1).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    assert!(places.len() > 300, "{} types found", places.len());
}

/// Readers expect `is_ready` to answer a question and to change nothing.
#[test]
fn is_has_and_can_methods_return_a_bool() {
    let mut found = 0;
    let mut wrong = Vec::new();
    let lines: Vec<_> = code_lines().collect();
    for (at, (file, line, text)) in lines.iter().enumerate() {
        let Some((_, rest)) = text.split_once("fn ") else {
            continue;
        };
        if !["is_", "has_", "can_"]
            .iter()
            .any(|begin| rest.starts_with(begin))
        {
            continue;
        }
        // Until its body begins, or its declaration ends.
        let signature: String = lines[at..]
            .iter()
            .map(|(_, _, text)| text.as_str())
            .take_while(|text| !text.trim().is_empty())
            .scan(false, |ended, text| {
                let goes_on = !*ended;
                *ended = text.trim_end().ends_with(['{', ';', '}']);
                goes_on.then_some(text)
            })
            .collect();
        found += 1;
        if !signature.contains("-> bool") && !signature.contains("-> io::Result<bool>") {
            wrong.push(format!("{}:{line} {}", file.display(), text.trim()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(found > 50, "{found} questions found");
}

/// A function that does not fit on a screen does more than one thing.
#[test]
fn no_function_has_more_than_60_lines() {
    const MOST: usize = 60;
    let mut long = Vec::new();
    let mut functions = 0;
    let mut open: Option<(String, usize, String)> = None;
    for (file, line, text) in program_lines() {
        let indent = &text[..text.len() - text.trim_start().len()];
        let is_function = text.contains("fn ") && text.ends_with(['{', '(']);
        let is_declaration =
            |closing: &str| text.starts_with(&closing.replace('}', ")")) && text.ends_with(';');
        if open
            .as_ref()
            .is_some_and(|(closing, ..)| is_declaration(closing))
        {
            open = None;
        } else if let Some((closing, start, name)) = &open
            && text == *closing
        {
            if line - start + 1 > MOST {
                long.push(format!("{}:{start} {name}", file.display()));
            }
            open = None;
        } else if open.is_none() && is_function && !text.trim_start().starts_with('"') {
            functions += 1;
            open = Some((format!("{indent}}}"), line, text.trim().to_owned()));
        }
    }
    assert!(long.is_empty(), "{long:#?}");
    assert!(functions > 2000, "{functions} functions found");
}

/// A caller of the library has no options of a command line. The program adds them, in
/// `cli/wording.rs`.
#[test]
fn no_text_of_the_library_names_an_option_of_the_program() {
    let mut found = Vec::new();
    let mut texts = 0;
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (file, line, text) in program_lines() {
        if file.starts_with(src.join("cli")) || file == src.join("main.rs") {
            continue;
        }
        texts += usize::from(text.contains('"'));
        // The names of fields in lists that are read again.
        let fields = ["const URL_COLUMN_FIELD", "const INVALID_FIELD"];
        let is_field = fields.iter().any(|field| text.contains(field));
        if !is_field && names_option(&text) {
            found.push(format!("{}:{line} {}", file.display(), text.trim()));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(texts > 1000, "{texts} lines with texts found");
}

/// Whether a text names a long option, or a short one that no command in a message has.
fn names_option(text: &str) -> bool {
    text.match_indices('-').any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + 1..].chars();
        let (first, second) = (after.next().unwrap_or(' '), after.next().unwrap_or(' '));
        let begins = before.is_some_and(|c| " ('`\"".contains(c));
        let is_long = first == '-' && second.is_ascii_alphabetic();
        let is_short =
            "0EHUjkoqx".contains(first) && !second.is_ascii_alphanumeric() && second != '.';
        begins && (is_long || is_short)
    })
}

#[test]
fn options_in_texts_are_found() {
    for text in [
        "(--max-wait)",
        "lower -j\"",
        "\"-k skips",
        " (-U USER",
        "with -0 only",
    ] {
        assert!(names_option(text), "{text}");
    }
    for text in [
        "jq -c . FILE",
        "gzip -dc",
        "a - k",
        "xn--a",
        "a - -1",
        "= -0.1",
        "// ---",
    ] {
        assert!(!names_option(text), "{text}");
    }
}

/// Every line of `src/` without comments, with its file and number.
fn code_lines() -> impl Iterator<Item = (PathBuf, usize, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&src).into_iter().flat_map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let numbered = lines.into_iter().enumerate();
        numbered
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(move |(at, line)| (path.clone(), at + 1, line))
    })
}

/// Those of [`code_lines`] that are not of tests.
fn program_lines() -> impl Iterator<Item = (PathBuf, usize, String)> {
    const TESTS: [&str; 7] = [
        "simulation",
        "tests",
        "tests.rs",
        "fuzz",
        "fuzz.rs",
        "whole.rs",
        "server_models.rs",
    ];
    let is_test = |path: &Path| {
        let mut names = path.iter().filter_map(|name| name.to_str());
        names.any(|name| TESTS.contains(&name))
    };
    let mut in_tests = PathBuf::new();
    code_lines().filter(move |(file, _, text)| {
        if text == "mod tests {" {
            in_tests.clone_from(file);
        }
        *file != in_tests && !is_test(file)
    })
}

/// Imports that close a ring: two halves of one thing. The list may only become shorter.
const RINGS: [(&str, &str); 7] = [
    ("fetch/local_end", "fetch/options"),
    ("fetch/tunnel", "fetch/classify"),
    ("model/sitemap", "model/event"),
    ("model/tls_text", "model/error"),
    ("notify/smtp", "notify/mail"),
    ("report/journal/read", "report/journal"),
    ("run/builder", "run/fetcher"),
];

/// A module can be read after those that it imports, unless they import it, too.
#[test]
fn no_modules_import_each_other() {
    let mut imports = imports();
    assert!(imports.len() > 150, "{} modules found", imports.len());
    for (from, to) in RINGS {
        let found = imports
            .get_mut(from)
            .is_some_and(|imports| imports.remove(to));
        assert!(found, "{from} does not import {to}: take it out of RINGS");
    }
    let rings = rings(&imports);
    assert!(rings.is_empty(), "{rings:#?}");
}

#[test]
fn rings_are_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
        for (from, to) in edges {
            graph
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
            graph.entry((*to).to_owned()).or_default();
        }
        rings(&graph)
            .into_keys()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(graph(&[("a", "b"), ("b", "c"), ("a", "c")]).is_empty());
    let ring = [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")];
    assert_eq!(graph(&ring), ["b", "c"]);
    let paths = imported_paths("use super::{a::{self, B}, c};\npub use d::E;\nfn f() { g::h() }");
    assert_eq!(
        paths.into_iter().collect::<Vec<_>>(),
        ["g::h", "super::a::B", "super::a::self", "super::c"]
    );
}

/// The imports through which a module imports itself, by module.
fn rings(imports: &BTreeMap<String, BTreeSet<String>>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut rings = BTreeMap::<_, BTreeSet<_>>::new();
    for (from, targets) in imports {
        for to in targets
            .iter()
            .filter(|to| reached(imports, to).contains(from))
        {
            rings.entry(&**from).or_default().insert(&**to);
        }
    }
    rings
}

/// A module, and all that it imports, also through others.
fn reached<'g>(
    imports: &'g BTreeMap<String, BTreeSet<String>>,
    from: &'g String,
) -> BTreeSet<&'g String> {
    let mut found = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        open.extend(imports[module].iter().filter(|module| found.insert(module)));
    }
    found
}

/// The modules that each file of `src/` imports, tests aside. A name that is re-exported is
/// imported from the module that declares it.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let texts: BTreeMap<_, _> = sources(&src)
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("\nmod tests {").next().unwrap();
            let code = code.replace("pub(crate) use ", "pub use ");
            let code = code.replace("pub(super) use ", "pub use ");
            (module_of(path.strip_prefix(&src).unwrap()), code)
        })
        .filter(|(module, _)| !module.contains("fuzz") && !module.contains("tests"))
        .collect();
    let resolve = |module: &str, path: &str| resolve(&texts, module, path);
    let mut exports = BTreeMap::new();
    for (module, text) in &texts {
        for path in statements(text, "pub use ")
            .iter()
            .flat_map(|group| expand(group))
        {
            let name = path.rsplit("::").next().unwrap().to_owned();
            if let Some((to, _)) = resolve(module, &path) {
                exports.insert((module.clone(), Some(name)), to);
            }
        }
    }
    let imports_of = |(module, text): (&String, &String)| {
        let targets = imported_paths(text).into_iter().filter_map(|path| {
            let (mut to, name) = resolve(module, &path)?;
            while let Some(next) = exports.get(&(to.clone(), name.clone())) {
                to.clone_from(next);
            }
            (to != *module).then_some(to)
        });
        (module.clone(), targets.collect())
    };
    texts.iter().map(imports_of).collect()
}

/// `input/list` for `input/list.rs`, `input` for `input/mod.rs`, and nothing for `lib.rs`.
fn module_of(file: &Path) -> String {
    let name = file.with_extension("").display().to_string();
    match name.as_str() {
        "lib" => String::new(),
        name => name.strip_suffix("/mod").unwrap_or(name).to_owned(),
    }
}

/// The module that a path leads to, and the name in it.
fn resolve(
    texts: &BTreeMap<String, String>,
    module: &str,
    path: &str,
) -> Option<(String, Option<String>)> {
    let mut parts: Vec<_> = path.split("::").peekable().collect::<Vec<_>>();
    let mut base: Vec<_> = module.split('/').filter(|part| !part.is_empty()).collect();
    let is_local = !matches!(*parts.first()?, "crate" | "super" | "self");
    if parts.first() == Some(&"crate") {
        base.clear();
    }
    let up = parts.iter().take_while(|part| **part == "super").count();
    base.truncate(base.len() - up);
    parts.retain(|part| !matches!(*part, "crate" | "super" | "self"));
    let own = base.len();
    base.extend(parts);
    (own + usize::from(is_local)..=base.len())
        .rev()
        .find(|length| texts.contains_key(&base[..*length].join("/")))
        .map(|length| {
            let name = base.get(length).map(|name| (*name).to_owned());
            (base[..length].join("/"), name)
        })
}

/// All paths of a text, except those that are re-exported.
fn imported_paths(text: &str) -> BTreeSet<String> {
    let code: Vec<_> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut code = code.join("\n");
    let mut paths = BTreeSet::new();
    for statement in statements(&code, "use ") {
        paths.extend(expand(&statement));
    }
    for begin in ["pub use ", "use "] {
        for statement in statements(&code, begin) {
            code = code.replace(&format!("{begin}{statement};"), "");
        }
    }
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code
        .split(|c| !is_path(c))
        .filter(|word| word.contains("::"));
    paths.extend(words.map(|word| word.trim_matches(':').to_owned()));
    paths
}

/// The statements that begin with this, without it and the semicolon.
fn statements(text: &str, begin: &str) -> Vec<String> {
    let lines = format!("\n{text}");
    let begins = format!("\n{begin}");
    let statements = lines.split(&begins).skip(1);
    let whole = statements.filter_map(|rest| rest.split_once(';'));
    whole.map(|(statement, _)| statement.to_owned()).collect()
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn expand(group: &str) -> Vec<String> {
    let Some((before, inner)) = group.split_once('{') else {
        let path = group.split(" as ").next().unwrap().trim();
        return vec![path.to_owned()];
    };
    let inner = inner.trim_end().strip_suffix('}').unwrap();
    let mut depth = 0;
    let parts = inner.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts
        .filter(|part| !part.trim().is_empty())
        .flat_map(|part| expand(&format!("{}{}", before.trim(), part.trim())))
        .collect()
}
