use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Server, binary, path, response};

/// Says that the programs of the cookbook must be there, so that it is not passed over.
const NEEDED: &str = "FETCHALL_NEEDS_COOKBOOK";
/// What the commands use beside what every Unix has.
const PROGRAMS: [&str; 3] = ["jq", "parallel", "curl"];
/// The site that the cookbook speaks of.
const SITE: &str = "https://example.com";

const COOKBOOK: &str = include_str!("../../docs/cookbook.md");

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
                let page = format!("<title>Home</title>{}", links.join("\n"));
                response("200 OK", &[HTML], page.as_bytes())
            }
            "/a.html" => response("200 OK", &[HTML], b"<title>A</title>"),
            path if path.starts_with("/data.json") => {
                let kind = "Content-Type: application/json";
                response("200 OK", &[kind], b"{\"value\":42}")
            }
            "/sitemap.xml" => {
                let pages = ["/a.html", "/data.json?x=1&amp;y=2"]
                    .map(|path| format!("<url><loc>{here}{path}</loc></url>\n"));
                response("200 OK", &[], pages.concat().as_bytes())
            }
            "/slow" => {
                std::thread::sleep(Duration::from_millis(300));
                response("200 OK", &[HTML], b"late")
            }
            "/gone" => response("404 Not Found", &[HTML], b"no"),
            _ => response("200 OK", &[HTML], b"page"),
        }
    })
}

/// A command of the cookbook, and what it prints where that is shown.
struct Recipe<'a> {
    name: &'a str,
    script: &'a str,
    output: Option<&'a str>,
}

/// The list of the cookbook, and what is done with it.
fn recipes() -> (&'static str, Vec<Recipe<'static>>) {
    let mut list = None;
    let mut recipes: Vec<Recipe<'_>> = Vec::new();
    let mut name = "";
    let mut rest = COOKBOOK;
    while let Some(at) = rest.find("\n```") {
        let (text, fence) = (&rest[..at], &rest[at + 4..]);
        let mut heads = text
            .lines()
            .rev()
            .filter_map(|line| line.strip_prefix("### "));
        name = heads.next().unwrap_or(name);
        let (language, block) = fence.split_once('\n').unwrap();
        let (block, after) = block.split_once("\n```\n").unwrap();
        match language {
            "sh" => recipes.push(Recipe {
                name,
                script: block,
                output: None,
            }),
            "text" if recipes.is_empty() => list = Some(block),
            "text" => recipes.last_mut().unwrap().output = Some(block),
            other => panic!("a block of {other:?} in the cookbook"),
        }
        rest = after;
    }
    (list.unwrap(), recipes)
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
fn every_command_of_the_cookbook_runs_and_prints_what_is_shown() {
    if let Some(program) = missing() {
        assert!(
            std::env::var_os(NEEDED).is_none(),
            "{NEEDED} is set, and there is no {program}"
        );
        return eprintln!("the cookbook is not tested: there is no {program}");
    }
    let (list, recipes) = recipes();
    assert!(recipes.len() > 20);
    for recipe in recipes {
        let server = site();
        let here = server.url("");
        let dir = tempfile::tempdir().unwrap();
        let list = format!("{list}\n").replace(SITE, &here);
        std::fs::write(dir.path().join("urls.txt"), list).unwrap();
        let script = recipe.script.replace(SITE, &here);
        let (ok, stdout, stderr) = run(&script, dir.path());
        let told = format!("{}\n{script}\n{stdout}\n{stderr}", recipe.name);
        assert!(ok, "{told}");
        if let Some(output) = recipe.output {
            assert_eq!(
                stdout.replace(&here, SITE).trim_end_matches('\n'),
                output,
                "{told}"
            );
        }
    }
}

/// As somebody with a shell would run it, in a folder of its own.
fn run(script: &str, dir: &Path) -> (bool, String, String) {
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
        .args(["-c", script])
        .current_dir(dir)
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("HOME", dir)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}
