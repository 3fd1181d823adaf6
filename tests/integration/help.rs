use crate::support::{Run, Server, binary, entry, pages, placeholders, response};

/// Returns the help for a terminal with this number of columns.
fn help(flag: &str, columns: &str) -> String {
    let output = binary().env("COLUMNS", columns).arg(flag).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_names_every_group_and_ends_with_examples() {
    let help = help("--help", "80");
    for heading in [
        "List:",
        "Concurrency and rate:",
        "Retry:",
        "Timeouts and limits:",
        "Request:",
        "Saving:",
        "Output:",
        "Display and diagnostics:",
        "Testing:",
        "Notifications:",
        "Examples:",
        "Exit codes:",
        "Environment:",
        "Files:",
    ] {
        assert!(help.contains(&format!("\n{heading}\n")), "{heading}");
    }
}

#[test]
fn what_can_not_be_written_gets_a_next_step() {
    let mut page = String::new();
    for argument in [
        "--failed=/nonexistent/again",
        "--journal=/nonexistent/journal",
        "--failed=src",
    ] {
        let done = Run::new()
            .text()
            .args([argument, "http://127.0.0.1:1/"])
            .expect_exit(3);
        entry(&mut page, argument, &done.stderr);
    }
    insta::assert_snapshot!("can_not_be_written", placeholders(&page, &[]));
}

#[test]
fn help_that_can_not_be_written_is_no_success() {
    for argument in ["--help", "-h", "--version"] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = crate::support::binary()
            .arg(argument)
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{argument}");
        assert!(!output.stderr.is_empty());
    }
}

/// `require_equals`: the next argument is not a SPEC.
#[test]
fn a_spec_after_a_blank_is_told_where_its_equals_sign_goes() {
    let done = Run::new()
        .text()
        .args(["--simulate-failure", "reset=10%"])
        .expect_exit(2);
    assert!(
        done.stderr.contains("'--simulate-failure=reset=10%'"),
        "{}",
        done.stderr
    );
}

/// The short help is easy to scan: each option has a line of its own, and few need a second one.
#[test]
fn the_short_help_fits_80_columns() {
    let help = help("-h", "80");
    let lines: Vec<_> = help.lines().collect();
    for line in &lines {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let is_option = |line: &&&str| line.trim_start().starts_with('-');
    let options: Vec<_> = lines.iter().filter(is_option).collect();
    for option in &options {
        let (_, text) = option.trim_start().split_once("  ").unwrap_or_default();
        assert!(
            !text.is_empty(),
            "the text stands below its option: {option}"
        );
    }
    // Lines that continue the previous one.
    let further = lines.iter().filter(|line| line.starts_with("           "));
    assert!(further.count() <= options.len() / 6, "{help}");
    assert!(help.contains("Examples:") && help.contains("More: --help"));
}

#[test]
fn flags_of_other_programs_get_a_hint() {
    let mut page = String::new();
    for flags in [
        vec!["-O"],
        vec!["--output", "pages"],
        vec!["-P", "4"],
        vec!["--max-connection-per-server=4"],
        vec!["--oauth2-bearer", "x"],
        vec!["--socks5", "h:1"],
        vec!["-s"],
        vec!["-sSL"],
        vec!["-L"],
        vec!["--parallel"],
        vec!["--parallel-max=7"],
        vec!["-i", "urls.txt"],
        vec!["-t", "3"],
        vec!["-T", "5"],
        vec!["--spider"],
    ] {
        let done = Run::new().text().args(flags.clone()).expect_exit(2);
        assert_eq!(done.stderr.matches("tip:").count(), 1, "{}", done.stderr);
        entry(&mut page, &flags.join(" "), &done.stderr);
    }
    insta::assert_snapshot!("flags_of_other_programs", page);
}

#[test]
fn what_is_misspelt_gets_a_suggestion() {
    let mut page = String::new();
    for argument in [
        "--concurency=3",
        "--output-dri=a",
        "--progress=plian",
        "--color=allways",
        "--generate=bsh",
        "--input-format=jsnol",
        "--simulate-failure=dsn=5%",
        "--seed=x",
        "--retries=many",
        "-XGE T",
        "--proxy=http://",
        "-r0-10",
        "-qv",
        "--email-to=ann",
        "--body",
        "--refresh",
        "--sync",
        "--dry-run",
        "--proxy-user=a:b",
        "http:/example.com",
        "https//example.com",
        "Cargo.tolm",
        "src",
        "localhost:8080",
        ":8080/x",
        "127.0.0.1",
        "--proxy=16",
        "--request=connect",
        "--output-dir=-",
        "--output-dir=out.json",
        "--output-dir=out.jsonl",
        "--output-dir=out.csv",
        "--output-dir=page.html",
        "--output-dir=urls.txt",
        "--output-dir=crawl.warc.gz",
        "--output-dir=/dev/null",
        "--output-dir=Cargo.toml",
        "--output-dir=Cargo.toml/x/y",
        "--output-dir=https://h/x",
        "--report=https://me:s3cret@h/x",
        "--journal=-",
    ] {
        let done = Run::new()
            .text()
            .args([argument, "http://127.0.0.1:1/"])
            .expect_exit(2);
        entry(&mut page, argument, &done.stderr);
    }
    insta::assert_snapshot!("misspelt", page);
}

#[test]
fn words_that_are_commands_elsewhere_are_told_what_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let mut page = String::new();
    for word in ["help", "version", "completions", "get"] {
        let output = binary()
            .current_dir(folder.path())
            .args([word, "http://127.0.0.1:1/"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        entry(&mut page, word, &said);
    }
    insta::assert_snapshot!("commands_elsewhere", page);
    // The name may be that of a list.
    std::fs::write(folder.path().join("help"), "").unwrap();
    let output = binary()
        .current_dir(folder.path())
        .arg("help")
        .output()
        .unwrap();
    assert!(output.status.success());
}

/// An option that reads stdin takes it from the list, under any name for stdin.
#[cfg(target_os = "linux")]
#[test]
fn a_list_that_an_option_would_read_is_told() {
    for args in [
        &["-d", "@-"][..],
        &["-d", "@-", "-"],
        &["-d", "@-", "/dev/stdin"],
        &["-d", "@/dev/stdin"],
        &["-d", "@/dev/fd/0", "-"],
        &["-d", "@/proc/self/fd/0", "-"],
        &["-u", "me:@/dev/stdin"],
        &["-x", "127.0.0.1:1", "-U", "me:@/dev/stdin"],
        &["-H", "A: b", "-H", "@/dev/stdin"],
        &["-w", "@/dev/stdin"],
        &["--cacert", "/dev/stdin"],
        &["--config", "/dev/stdin"],
    ] {
        let run = Run::new().text().args(args.iter().copied());
        let done = run.urls(["# http://127.0.0.1:1/"]).expect_exit(2);
        let cause = "cannot read stdin, which the list reads, too; name a file or a URL";
        assert!(done.stderr.contains(cause), "{args:?}: {}", done.stderr);
    }
    let run = Run::new().text().env("FETCHALL_NO_CONFIG", "0");
    let run = run.env("FETCHALL_CONFIG", "/dev/stdin").stdin("# a list");
    let done = run.expect_exit(2);
    assert!(
        done.stderr.contains("--config: cannot read stdin"),
        "{}",
        done.stderr
    );
    let two = ["-d", "@-", "-u", "me:@/dev/stdin", "http://127.0.0.1:1/"];
    let done = Run::new().text().args(two).stdin("x").expect_exit(2);
    assert!(
        done.stderr
            .contains("--data: cannot read stdin, which another option reads"),
        "{}",
        done.stderr
    );
    let twice = Run::new().text().args(["-", "/dev/stdin"]).expect_exit(2);
    assert!(twice.stderr.contains("read only once"), "{}", twice.stderr);
}

/// If the list is a file, stdin is free; an empty device takes nothing either.
#[cfg(target_os = "linux")]
#[test]
fn a_body_from_stdin_goes_to_the_urls_of_a_file() {
    let server = Server::http(|_| response("200 OK", &[], b"ok"));
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    std::fs::write(&list, server.url("/")).unwrap();
    Run::new()
        .args(["-d", "@/dev/stdin", list.to_str().unwrap()])
        .stdin("the body")
        .expect_exit(0);
    assert!(server.requests()[0].ends_with("the body"));
    let output = binary()
        .args(["-d", "@/dev/null", "-H", "@/dev/null"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// A URL as a directory name would create a directory named after its password.
#[test]
fn a_url_is_no_place_to_write_to() {
    let folder = tempfile::tempdir().unwrap();
    for option in [
        "-o",
        "--pack",
        "--journal",
        "--failed",
        "--report",
        "--summary-json",
    ] {
        let output = binary()
            .current_dir(folder.path())
            .args([
                option,
                "http://u:s3cret@127.0.0.1:1/",
                "http://127.0.0.1:1/",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("not a URL") && !said.contains("s3cret"),
            "{said}"
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A wrong name creates nothing; an explicit directory does.
#[test]
fn a_folder_may_be_called_like_a_file_if_it_is_meant() {
    let server = Server::http(|_| response("200 OK", &[], b"ok"));
    let folder = tempfile::tempdir().unwrap();
    let go = |name: &str, code| {
        let output = binary()
            .current_dir(folder.path())
            .args(["-q", "-o", name, &server.url("/")])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {output:?}");
    };
    go("out.json", 2);
    go("-", 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    go("out.json/", 0);
    // The directory exists now.
    go("out.json", 0);
    go("example.com", 0);
    go("new/below/v1.2", 0);
}

#[test]
fn a_list_beside_the_demo_is_explained() {
    let run = Run::new().text().args(["--demo", "slow.txt"]);
    insta::assert_snapshot!("demo_with_a_list", run.expect_exit(2).stderr);
}

#[test]
fn a_user_without_a_password_is_a_warning() {
    let server = pages();
    let run = |args: &[&str]| {
        let run = Run::new().args(args.iter().copied()).arg(server.url("/a"));
        let stderr = run.go().stderr;
        let warnings = stderr.lines().filter(|line| line.contains("warning"));
        warnings.collect::<Vec<_>>().join("\n")
    };
    let mut page = String::new();
    entry(&mut page, "-u", &run(&["-u", "s3cret"]));
    let proxy = format!("http://{}", server.addr);
    entry(&mut page, "-U", &run(&["-x", &proxy, "-U", "s3cret"]));
    let variable = Run::new()
        .env("FETCHALL_USER", "s3cret")
        .arg(server.url("/a"));
    let stderr = variable.expect_exit(0).stderr;
    entry(&mut page, "variable", stderr.lines().next().unwrap());
    assert!(!page.contains("s3cret"), "{page}");
    insta::assert_snapshot!("no_password", page);
    assert_eq!(run(&["-u", "bob:"]), "");
    assert_eq!(run(&["-u", "bob:pw"]), "");
}

/// clap takes it for a line break.
#[test]
fn the_number_of_a_pack_is_in_help_as_it_is_written() {
    for page in [&["--help"][..], &["--generate=man"]] {
        let shown = binary().args(page).output().unwrap().stdout;
        let shown = String::from_utf8(shown).unwrap();
        assert_eq!(shown.matches("{n}").count(), 5, "{page:?}");
        assert!(!shown.contains('\u{1b}'), "{page:?}");
    }
}
