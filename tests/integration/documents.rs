use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fetchall::Sha256;

use crate::support::{Server, binary, path, placeholders, response, times};

/// Set where the programs used by the documents are required, so that the test is not skipped.
const NEEDED: &str = "FETCHALL_NEEDS_COOKBOOK";
/// Programs used by the commands that not every Unix has.
const PROGRAMS: [&str; 3] = ["jq", "parallel", "curl"];
/// The site in the documents.
const SITE: &str = "https://example.com";
/// The name of its directory below `-o DIR`.
const SITE_DIR: &str = "example.com";
/// Options of other programs in the documents.
const OTHER_OPTIONS: [&str; 20] = [
    // A field of `--failed`.
    "--invalid",
    "--array",
    "--bench",
    "--block",
    "--cfg",
    "--deferred-input",
    "--features",
    "--jobs",
    "--no-default-features",
    "--open",
    "--parallel-max-host",
    "--path",
    "--pipepart",
    "--retry",
    "--retry-on-http-status",
    "--save-session",
    "--sshloginfile",
    "--unbuffered",
    "--wait",
    "--workdir",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns README.md and everything in docs/, by name.
fn documents() -> Vec<(String, String)> {
    let mut paths = vec![root().join("README.md")];
    paths.extend(
        std::fs::read_dir(root().join("docs"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
    );
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn site() -> Server {
    const HTML: &str = "Content-Type: text/html";
    Server::http(|request| {
        let host = request.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("host: ")
                .map(str::to_owned)
        });
        let here = format!("http://{}", host.unwrap_or_default());
        match path(request) {
            "/" => {
                let links = ["/a.html", "/data.json", "/gone"]
                    .map(|path| format!("<a href=\"{here}{path}\">x</a>"));
                // Has the same length whatever the port is.
                let page = format!(
                    "{:<200}",
                    format!("<title>Home</title>{}", links.join("\n"))
                );
                response("200 OK", &[HTML], page.as_bytes())
            }
            "/a.html" => response("200 OK", &[HTML], b"<title>A</title>"),
            path if path.starts_with("/data.json") => {
                let kind = "Content-Type: application/json";
                let date = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
                response("200 OK", &[kind, date], b"{\"value\":42}")
            }
            "/sitemap.xml" => {
                let pages = ["/a.html", "/data.json?x=1&amp;y=2"]
                    .map(|path| format!("<url><loc>{here}{path}</loc></url>\n"));
                let sitemap = format!("<urlset>\n{}</urlset>\n", pages.concat());
                response("200 OK", &[], sitemap.as_bytes())
            }
            "/SHA256SUMS" => {
                let [page, data] =
                    [b"<title>A</title>" as &[u8], b"{\"value\":42}"].map(Sha256::of);
                let manifest = format!("{page}  a.html\n{data}  data.json\n");
                response("200 OK", &[], manifest.as_bytes())
            }
            "/slow" => {
                std::thread::sleep(Duration::from_millis(300));
                response("200 OK", &[HTML], b"late")
            }
            "/login" if request.ends_with("user=me&password=secret") => {
                response("200 OK", &[HTML, "Set-Cookie: session=1; Path=/"], b"in")
            }
            "/login" => response("403 Forbidden", &[HTML], b"no"),
            path if path.starts_with("/members/") && !request.contains("session=1") => {
                response("403 Forbidden", &[HTML], b"no")
            }
            "/gone" => response("404 Not Found", &[HTML], b"no"),
            _ => response("200 OK", &[HTML], b"page"),
        }
    })
}

/// A fenced block: the text after its fence, its content, and the text before it.
struct Block<'a> {
    info: &'a str,
    text: &'a str,
    before: &'a str,
}

fn blocks(document: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = document;
    while let Some(at) = rest.find("\n```") {
        let (before, fence) = (&rest[..at], &rest[at + 4..]);
        let (info, block) = fence.split_once('\n').unwrap();
        let end = block.find("\n```\n").unwrap();
        let text = &block[..end];
        blocks.push(Block { info, text, before });
        // Starts at the line end, because another fence may follow immediately.
        rest = &block[end + "\n```".len()..];
    }
    blocks
}

/// A command of a document, and its output if the next block shows that.
///
/// After the fence ` ```sh ` there may be `exit-N`, the exit code of the command, and `any-order`,
/// if its lines come in the order in which the URLs settle.
struct Recipe<'a> {
    script: &'a str,
    exit: i32,
    any_order: bool,
    output: Option<&'a str>,
}

fn recipes(document: &str) -> Vec<Recipe<'_>> {
    let mut recipes: Vec<Recipe<'_>> = Vec::new();
    let mut follows_command = false;
    for block in blocks(document) {
        let mut words = block.info.split(' ');
        match words.next() {
            Some("sh") => {
                let mut recipe = Recipe {
                    script: block.text,
                    exit: 0,
                    any_order: false,
                    output: None,
                };
                for word in words {
                    match word.split_once('-') {
                        Some(("exit", code)) => recipe.exit = code.parse().unwrap(),
                        Some(("any", "order")) => recipe.any_order = true,
                        _ => panic!("```{}", block.info),
                    }
                }
                recipes.push(recipe);
                follows_command = true;
            }
            Some("text") if follows_command && block.before.trim().is_empty() => {
                recipes.last_mut().unwrap().output = Some(block.text);
                follows_command = false;
            }
            _ => follows_command = false,
        }
    }
    recipes
}

/// Returns the list that the commands fetch: the first block of the cookbook.
fn list() -> String {
    let cookbook = std::fs::read_to_string(root().join("docs/cookbook.md")).unwrap();
    format!("{}\n", blocks(&cookbook)[0].text)
}

fn missing() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|program| {
        let asked = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        asked.is_err()
    })
}

#[test]
fn every_command_of_the_documents_runs_and_prints_what_is_shown() {
    if let Some(program) = missing() {
        assert!(
            std::env::var_os(NEEDED).is_none(),
            "{NEEDED} is set, and there is no {program}"
        );
        return eprintln!("the documents are not tested: there is no {program}");
    }
    let documents = documents();
    let recipes: Vec<_> = documents
        .iter()
        .flat_map(|(name, document)| recipes(document).into_iter().map(move |one| (name, one)))
        .collect();
    assert!(recipes.len() > 50, "{} commands", recipes.len());
    let problems: Vec<_> = recipes
        .iter()
        .filter_map(|(name, recipe)| Some(format!("{name}: {}", problem(recipe)?)))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Returns how the command's result differs from the document.
fn problem(recipe: &Recipe<'_>) -> Option<String> {
    let server = site();
    let here = server.url("");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("urls.txt"), list().replace(SITE, &here)).unwrap();
    let script = recipe.script.replace(SITE, &here);
    let (exit, output) = run(&script, dir.path());
    let told = |why: &str| Some(format!("{why}\n{script}\n{output}"));
    if exit != Some(recipe.exit) {
        return told(&format!("exit code {exit:?}, not {}", recipe.exit));
    }
    let expected = recipe.output?;
    let here_dir = here.replace("http://", "").replace(':', "+http+");
    let actual = placeholders(&output, &[(&here, SITE), (&here_dir, SITE_DIR)]);
    let actual = comparable(&actual, recipe.any_order);
    let expected = comparable(&placeholders(expected, &[]), recipe.any_order);
    if actual != expected {
        return told(&format!("{actual:#?} is not {expected:#?}"));
    }
    None
}

/// Removes what differs from run to run: times, the column widths that depend on them, and the
/// ratio to a sequential run.
fn comparable(text: &str, any_order: bool) -> Vec<String> {
    let mut lines: Vec<String> = times(text)
        .trim_end()
        .lines()
        .map(|line| match line.split_once("; ") {
            Some((size, _)) if size.contains(" in TIME") => size,
            _ => line,
        })
        .map(|line| {
            let words = line.split(' ').filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    if any_order {
        lines.sort();
    }
    lines
}

/// Returns the crates that Cargo.toml names for the program and the library.
fn dependencies() -> BTreeSet<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && !section.contains("dev-dependencies")
            && let Some((name, _)) = line.split_once(" = ")
        {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn every_dependency_has_a_reason() {
    let document = std::fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let rows = document.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("| ")?.split_once(" | ")?;
        (name != "crate").then_some(name)
    });
    let rows: BTreeSet<_> = rows
        .flat_map(|names| names.trim_end_matches(" ●").split(", "))
        .map(str::to_owned)
        .collect();
    assert_eq!(rows, dependencies());
}

#[test]
fn every_option_in_the_documents_exists() {
    let help = binary().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let known: BTreeSet<&str> = options(&help).chain(OTHER_OPTIONS).collect();
    for (name, document) in documents() {
        for line in document.lines() {
            for option in options(line) {
                assert!(known.contains(option), "{name}: {option}\n{line}");
            }
        }
    }
}

/// Returns the long options in a text.
fn options(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || "-.".contains(char);
    text.split(move |char| !is_part(char))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| {
            let name = word.strip_prefix("--").unwrap_or_default();
            name.starts_with(|char: char| char.is_ascii_lowercase())
        })
}

/// `.ci/scale` runs the files; here they are only compared.
#[test]
fn every_recipe_for_an_engine_is_part_of_a_file_below_scale() {
    let page = read(&root().join("docs/scale.md"));
    let (_, engines) = page.split_once("cluster engine?\n").unwrap();
    let files: Vec<String> = std::fs::read_dir(root().join("docs/scale"))
        .unwrap()
        .map(|entry| read(&entry.unwrap().path()))
        .collect();
    let shown: Vec<_> = blocks(engines)
        .into_iter()
        .filter(|block| ["python", "bash", "yaml"].contains(&block.info))
        .collect();
    assert!(shown.len() > 3, "{} recipes", shown.len());
    for block in shown {
        let is_there = files.iter().any(|file| file.contains(block.text));
        assert!(is_there, "no file below docs/scale has\n{}", block.text);
    }
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let others = ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
        .map(|name| (name.to_owned(), read(&root().join(name))));
    for (name, document) in documents().into_iter().chain(others) {
        for link in document.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let from = root().join(&name);
            let to = match file {
                "" => from,
                file => from.parent().unwrap().join(file),
            };
            assert!(to.exists(), "{name}: {link}");
            if !anchor.is_empty() {
                let headings = read(&to);
                let found = headings
                    .lines()
                    .any(|line| line.starts_with('#') && slug(line) == anchor);
                assert!(found, "{name}: no heading for {link}");
            }
        }
    }
}

#[test]
fn every_name_in_the_architecture_is_in_the_code() {
    let page = read(&root().join("docs/architecture.md"));
    let code = code(&root().join("src"));
    let (mut fenced, mut names) = (false, BTreeSet::new());
    for line in page.lines() {
        fenced ^= line.starts_with("```");
        if !fenced {
            names.extend(line.split('`').skip(1).step_by(2));
        }
    }
    for name in names {
        if name.contains(".rs") || name.starts_with("tests/") {
            let path = [root().join("src").join(name), root().join(name)];
            assert!(path.iter().any(|path| path.exists()), "{name}");
            continue;
        }
        if name.starts_with('-') {
            continue;
        }
        let is_part = |char: char| char.is_alphanumeric() || char == '_';
        for part in name.split(|char| !is_part(char)) {
            assert!(code.contains(part), "{name}: {part}");
        }
    }
}

/// Returns the content of all files below a directory.
fn code(dir: &Path) -> String {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| match path.is_dir() {
            true => code(&path),
            false => String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned(),
        })
        .collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Returns the anchor of a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|char| char.is_alphanumeric() || " -_".contains(*char))
        .map(|char| if char == ' ' { '-' } else { char })
        .collect()
}

/// Runs a script in a directory of its own, as a user with a shell would. Results and messages are
/// in the order in which a terminal would show them.
fn run(script: &str, dir: &Path) -> (Option<i32>, String) {
    let program = binary();
    let folder = Path::new(program.get_program()).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .current_dir(dir)
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("HOME", dir)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text)
}
