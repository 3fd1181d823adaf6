use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

use crate::support::{Run, binary};

fn generated(what: &str) -> String {
    let done = Run::new().text().args(["--generate", what]).expect_exit(0);
    assert_eq!(done.stderr, "");
    done.stdout
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Whether a program is installed. If all programs are required, a missing one is a failure.
fn is_there(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .is_ok();
    let needed = std::env::var_os("FETCHALL_NEEDS_SHELLS").is_some();
    assert!(found || !needed, "{program} is not installed");
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Returns what a shell prints when it runs this script with these arguments.
fn said(shell: &str, script: &str, args: &[&Path]) -> String {
    let script = file(script);
    let output = Command::new(shell)
        .arg(script.path())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shell}: {output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
    said
}

#[test]
fn bash_completes_options_and_their_values() {
    if !is_there("bash") {
        return;
    }
    let completions = file(&generated("bash"));
    let script = r#"
        source "$1"
        complete -p fetchall >/dev/null || exit 1
        for words in "--conc" "--progress pl" "--generate z" "--resol" "-H x --ordere"; do
            COMP_WORDS=(fetchall $words)
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _fetchall fetchall "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "$words: ${COMPREPLY[*]}"
        done
    "#;
    let said = said("bash", script, &[completions.path()]);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "--conc: --concurrency",
            "--progress pl: plain",
            "--generate z: zsh",
            "--resol: --resolve",
            "-H x --ordere: --ordered",
        ]
    );
}

#[test]
fn fish_completes_options_and_their_values() {
    if !is_there("fish") {
        return;
    }
    let completions = file(&generated("fish"));
    let script = r#"
        source $argv[1]
        for line in "--conc" "--progress pl" "--generate z" "--resol"
            complete -C "fetchall $line"
        end
    "#;
    let said = said("fish", script, &[completions.path()]);
    let names: Vec<_> = said
        .lines()
        .map(|line| line.split('\t').next().unwrap())
        .collect();
    assert_eq!(names, ["--concurrency", "plain", "zsh", "--resolve"]);
}

/// zsh completes only at a prompt, so the test runs it on a terminal.
#[test]
fn zsh_completes_options_and_their_values() {
    if !is_there("zsh") {
        return;
    }
    let completions = file(&generated("zsh"));
    let script = r#"
        zmodload zsh/zpty || exit 1
        zpty shell "TERM=dumb zsh -f -i"
        answer() {
            local part
            said=
            for ((n = 0; n < 1200; n++)); do
                if zpty -rt shell part; then said+=$part; else sleep 0.05; fi
                [[ $said == *$~1* ]] && return 0
            done
            print -r -- "no answer like $1: $said"
            exit 1
        }
        zpty -w shell "PROMPT=; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; source ${(q)1}; echo rea''dy"
        answer ready
        for line wanted in \
            "fetchall --conc" "--concurrency=" \
            "fetchall --resol" "--resolve=" \
            "fetchall --progress pl" "--progress plain" \
            "fetchall --generate z" "--generate zsh" \
            "fetchall -H x --ordere" "--ordered"
        do
            zpty -w -n shell "$line"$'\t'
            answer $wanted
            print -r -- "$wanted"
            # The next one begins with an empty line.
            zpty -w -n shell $'\x15'
        done
    "#;
    let said = said("zsh", script, &[completions.path()]);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "--concurrency=",
            "--resolve=",
            "--progress plain",
            "--generate zsh",
            "--ordered"
        ]
    );
}

/// PowerShell is not available everywhere to load the completions. `FETCHALL_BLESS=1` accepts the
/// generated ones.
#[test]
fn completions_for_powershell_are_those_that_were_looked_at() {
    let golden: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "fixtures",
        "golden",
        "completions.ps1",
    ]
    .iter()
    .collect();
    let now = generated("powershell");
    if std::env::var_os("FETCHALL_BLESS").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, &now).unwrap();
    }
    let then = fs::read_to_string(&golden).unwrap_or_default();
    let differs = now
        .lines()
        .zip(then.lines())
        .find(|(now, then)| now != then);
    assert!(
        now == then,
        "{differs:?}; if that is right, look at what FETCHALL_BLESS=1 makes of {}",
        golden.display()
    );
}

#[test]
fn the_man_page_has_its_sections_and_no_warnings() {
    let page = generated("man");
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "\"EXIT STATUS\"",
        "ENVIRONMENT",
        "FILES",
        "EXAMPLES",
    ] {
        assert!(page.contains(&format!("\n.SH {section}\n")), "{section}");
    }
    for told in [
        "FETCHALL_CONCURRENCY",
        "/etc/fetchall.toml",
        "141",
        "fetchall urls.txt",
    ] {
        let escaped = told.replace('-', "\\-");
        assert!(page.contains(told) || page.contains(&escaped), "{told}");
    }
    let page = file(&page);
    for (program, args) in [
        ("groff", &["-ww", "-man", "-Tutf8", "-z"][..]),
        ("man", &["--warnings", "-l"][..]),
    ] {
        if !is_there(program) {
            continue;
        }
        let output = Command::new(program)
            .args(args)
            .arg(page.path())
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program}");
        if program == "man" {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("--concurrency"), "{text}");
            let head = text.trim_start().lines().next().unwrap();
            assert!(head.contains("User Commands"), "{head}");
        }
    }
}

#[test]
fn a_reader_who_leaves_and_a_full_disk_are_told_apart() {
    let status = |stdout: Stdio| {
        let mut child = binary()
            .args(["--generate", "man"])
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(status(writer.into()), (Some(141), String::new()));
    if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
        let (code, said) = status(full.into());
        assert_eq!(code, Some(3));
        assert!(said.contains("No space left"), "{said}");
    }
}
