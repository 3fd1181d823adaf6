use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::support::{Done, Run, Server, entry, header, placeholders, response};

/// A directory with config files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn settings(text: &str) -> Run {
    Run::new().text().settings(text)
}

/// Returns the line of an option in the output of `--print-config`: its setting and its source.
fn shown(done: &Done, option: &str) -> (String, String) {
    let is_it = |line: &&str| {
        let line = line.trim_start_matches("# ").trim_matches('"');
        line.starts_with(&format!("{option} =")) || line.starts_with(&format!("{option}\" ="))
    };
    let line = done
        .stdout
        .lines()
        .find(is_it)
        .unwrap_or_else(|| panic!("no {option} in {}", done.stdout));
    let (setting, origin) = line.rsplit_once(" # ").unwrap();
    (setting.trim().to_owned(), origin.to_owned())
}

#[test]
fn a_file_sets_options_by_their_long_names() {
    let server =
        Server::http(
            |request| match (header(request, "x-one"), header(request, "x-two")) {
                (Some("1"), Some("a, b")) => response("200 OK", &[], b"ok"),
                _ => response("400 Bad Request", &[], b""),
            },
        );
    let done = settings(
        "concurrency = 3\nheader = [\"X-One: 1\", 'X-Two: a, b']\njson = true\nmax-size = '1MiB'\n",
    )
    .arg(server.url("/"))
    .expect_exit(0);
    assert!(done.stdout.starts_with("{\"line\":1"), "{}", done.stdout);
}

#[test]
fn flags_beat_the_environment_the_environment_the_file_and_the_file_the_default() {
    let folder = Folder::new();
    let path = folder.file(
        "a.toml",
        "# mine\n\nretries = 1\nper-host = 2\nconcurrency = 3\n",
    );
    let done = Run::new()
        .text()
        .env("FETCHALL_RETRIES", "5")
        .env("FETCHALL_PER_HOST", "6")
        .env("FETCHALL_MAX_WAIT", "")
        .args(["--config", &path, "--retries=9", "--print-config"])
        .expect_exit(0);
    let is = |option: &str, setting: &str, origin: &str| {
        let (found, from) = shown(&done, option);
        assert_eq!((&*found, &*from), (setting, origin));
    };
    is("retries", "retries = 9", "flag");
    is("per-host", "per-host = 6", "FETCHALL_PER_HOST");
    is("concurrency", "concurrency = 3", &format!("{path}:5"));
    is("max-wait", "max-wait = \"15m\"", "default");
    is("rate", "# rate =", "default: unlimited");
    assert!(done.stdout.contains(&format!("# {path} (read)\n")));
}

#[test]
fn what_is_printed_can_be_read_again() {
    let first = Run::new()
        .text()
        .args(["--print-config", "--http1.1", "-vv", "-o", "a \"b\\c\u{1b}"])
        .args(["--rate=0.5/s", "--simulate-failure", "--resolve=*:80:::1"])
        .expect_exit(0);
    let second = settings(&first.stdout).arg("--print-config").expect_exit(0);
    let settings = |done: &Done| {
        let lines = done.stdout.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                line.rsplit_once(" # ")
                    .map_or(line, |(setting, _)| setting)
                    .to_owned()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(settings(&first), settings(&second));
    let (_, origin) = shown(&second, "http1.1");
    assert!(origin.contains("settings.toml:"), "{origin}");
}

#[test]
fn the_users_file_beats_that_of_the_machine_and_no_file_is_needed() {
    let folder = Folder::new();
    let path = folder.file("config/fetchall/fetchall.toml", "retries = 7\n");
    let config = folder.path("config");
    let print = |name: &str, value: &Path| {
        Run::new()
            .text()
            .env("FETCHALL_NO_CONFIG", "0")
            .env("XDG_CONFIG_HOME", "")
            .env(name, value.to_str().unwrap())
            .arg("--print-config")
    };
    let done = print("XDG_CONFIG_HOME", &config).expect_exit(0);
    assert_eq!(
        shown(&done, "retries"),
        ("retries = 7".to_owned(), format!("{path}:1"))
    );
    assert!(
        done.stdout.contains("\n# /etc/fetchall.toml ("),
        "{}",
        done.stdout
    );
    let path = folder.file(".config/fetchall/fetchall.toml", "retries = 8\n");
    let done = print("HOME", folder.0.path()).expect_exit(0);
    assert_eq!(
        shown(&done, "retries"),
        ("retries = 8".to_owned(), format!("{path}:1"))
    );
    for none in ["--no-config", "--config=/dev/null"] {
        let done = print("HOME", folder.0.path()).arg(none).expect_exit(0);
        assert_eq!(shown(&done, "retries").0, "retries = 3");
    }
    let done = print("HOME", &folder.path("nobody")).expect_exit(0);
    assert!(
        done.stdout
            .contains("nobody/.config/fetchall/fetchall.toml (not found)")
    );
}

/// A downloaded directory must not choose a proxy.
#[test]
fn nothing_is_read_from_the_current_folder() {
    let folder = Folder::new();
    folder.file("fetchall.toml", "nonsense");
    folder.file("fetchall/fetchall.toml", "nonsense");
    let mut command = crate::support::binary();
    let output = command
        .current_dir(folder.0.path())
        .env("FETCHALL_NO_CONFIG", "0")
        .env("XDG_CONFIG_HOME", ".")
        .env("HOME", "")
        .arg("--print-config")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line() {
    let mut page = String::new();
    for text in [
        "\nconcurency = 3\n",
        "retry_delay = '1s'",
        "[retry]\ndelay = '1s'",
        "timeout = '5s'",
        "[nonsense]",
        "# a\nconcurrency = 'many'",
        "concurrency = 0",
        "concurrency = [1, 2]",
        "concurrency = true",
        "progress = 'plian'",
        "max-time = ''",
        "json = 'yes'",
        "json = 1",
        "verbose = 10",
        "seed = 1979-05-27",
        "header = ['A: b', { }]",
        "header = ['no colon']",
        "simulate-failure = 'dsn=5%'",
        "data = '@/no/such/file'",
        "demo = true",
        "config = 'x'",
        "retries = 1\nretries = 2",
        "json = yes",
        "output-dir = pages",
        "\n\njson",
        "output-dir = 'a'\nbody = true",
        "pack = 'a.warc'\noutput-dir = 'a'",
        "quiet = true\nverbose = 1",
    ] {
        let done = settings(text).arg("http://127.0.0.1:1/").expect_exit(2);
        let line = done.stderr.lines().next().unwrap_or_default();
        assert!(line.starts_with("fetchall: /"), "{text}: {}", done.stderr);
        assert_eq!(done.stdout, "");
        entry(&mut page, &format!("{text:?}"), &done.stderr);
    }
    insta::assert_snapshot!("wrong_files", placeholders(&page, &[]));
}

#[test]
fn places_that_only_the_run_finds_wrong_are_told_with_who_set_them() {
    let mut page = String::new();
    for (option, code) in [
        ("cacert", 2),
        ("failed", 3),
        ("journal", 3),
        ("output-dir", 3),
        ("report", 3),
        ("summary-json", 3),
    ] {
        let place = "/proc/nonexistent/place";
        let text = format!("\n{option} = '{place}'");
        let done = settings(&text).arg("http://127.0.0.1:1/").expect_exit(code);
        let told = "settings.toml:2 ";
        assert!(done.stderr.contains(told), "{}", done.stderr);
        entry(&mut page, &format!("{option}, in a file"), &done.stderr);
        let name = format!("FETCHALL_{}", option.to_uppercase().replace('-', "_"));
        let done = Run::new()
            .env(&name, place)
            .arg("http://127.0.0.1:1/")
            .expect_exit(code);
        assert!(done.stderr.contains(&name), "{}", done.stderr);
        entry(&mut page, &name, &done.stderr);
    }
    insta::assert_snapshot!("wrong_places", placeholders(&page, &[]));
}

#[test]
fn a_file_that_is_named_must_be_there_and_be_one() {
    let folder = Folder::new();
    let absent = folder.path("absent.toml");
    let latin = folder.file("latin.toml", b"user-agent = '\xe9'");
    let mut page = String::new();
    for path in [
        absent.to_str().unwrap(),
        folder.0.path().to_str().unwrap(),
        &latin,
        "/dev/zero",
    ] {
        for run in [
            Run::new().args(["--config", path]),
            Run::new()
                .env("FETCHALL_CONFIG", path)
                .env("FETCHALL_NO_CONFIG", "0"),
        ] {
            let done = run.text().arg("http://127.0.0.1:1/").expect_exit(2);
            assert!(done.stderr.contains(path), "{}", done.stderr);
            entry(&mut page, path, &done.stderr);
        }
    }
    // The file is not named on the command line, but it exists.
    let config = Folder::new();
    config.file("fetchall/fetchall.toml", "nonsense");
    let done = Run::new()
        .text()
        .env("FETCHALL_NO_CONFIG", "0")
        .env("XDG_CONFIG_HOME", config.0.path().to_str().unwrap())
        .arg("http://127.0.0.1:1/")
        .expect_exit(2);
    entry(&mut page, "not named, but there", &done.stderr);
    insta::assert_snapshot!("files_that_are_none", placeholders(&page, &[]));
}

#[test]
fn what_is_wrong_with_a_variable_is_told_with_its_name() {
    let mut page = String::new();
    for (name, value) in [
        ("FETCHALL_CONCURRENCY", "many"),
        ("FETCHALL_JSON", "yes"),
        ("FETCHALL_VERBOSE", "x"),
        ("FETCHALL_COLOR", "allways"),
        ("FETCHALL_HEADER", "A b"),
        ("FETCHALL_PROXY", "ftp://a"),
        ("FETCHALL_SIMULATE_FAILURE", "dsn=5%"),
        ("FETCHALL_NO_CONFIG", "maybe"),
    ] {
        let done = Run::new()
            .text()
            .env(name, value)
            .arg("http://127.0.0.1:1/")
            .expect_exit(2);
        let start = format!("fetchall: {name}: ");
        assert!(done.stderr.starts_with(&start), "{}", done.stderr);
        entry(&mut page, &format!("{name}={value}"), &done.stderr);
    }
    let done = Run::new()
        .env("FETCHALL_QUIET", "1")
        .env("FETCHALL_VERBOSE", "true")
        .arg("http://127.0.0.1:1/")
        .expect_exit(2);
    let title = "FETCHALL_QUIET=1 FETCHALL_VERBOSE=true";
    entry(&mut page, title, &done.stderr);
    insta::assert_snapshot!("wrong_variables", placeholders(&page, &[]));
}

#[test]
fn switches_of_the_file_are_turned_off_by_the_environment() {
    let server = Server::http(|_| response("200 OK", &[], b"ok"));
    let run = || {
        settings("json = true\nsimulate-failure = '500=100%'\nretries = 0\n").arg(server.url("/"))
    };
    let done = run().expect_exit(1);
    assert!(
        done.stdout.contains("\"simulated\":true"),
        "{}",
        done.stdout
    );
    for off in ["0", "false"] {
        let done = run()
            .env("FETCHALL_JSON", off)
            .env("FETCHALL_SIMULATE_FAILURE", off)
            .expect_exit(0);
        assert!(done.stdout.starts_with("200"), "{}", done.stdout);
    }
    // Each line has a header.
    let done = Run::new()
        .text()
        .env("FETCHALL_SIMULATE_FAILURE", "true")
        .env("FETCHALL_VERBOSE", "2")
        .env("FETCHALL_HTTP1_1", "1")
        .env("FETCHALL_HEADER", "A: b\nC: d\n")
        .arg("--print-config")
        .expect_exit(0);
    assert_eq!(
        shown(&done, "simulate-failure").0,
        "simulate-failure = true"
    );
    assert_eq!(shown(&done, "verbose").0, "verbose = 2");
    assert_eq!(shown(&done, "http1.1").0, "\"http1.1\" = true");
    assert_eq!(
        shown(&done, "header").0,
        "header = [\"A: ***\", \"C: ***\"]"
    );
}

#[test]
fn what_conflicts_with_a_flag_gives_way_to_it() {
    let server = Server::http(|_| response("200 OK", &[], b"ok"));
    let folder = Folder::new();
    let pages = folder.path("pages");
    let text = format!("output-dir = {pages:?}\nsync = true\n");
    let run = || settings(&text);
    let done = run()
        .args(["--json", "--body", &server.url("/")])
        .expect_exit(0);
    assert!(done.stdout.contains("\"body\":\"ok\""), "{}", done.stdout);
    assert!(done.stderr.lines().count() == 2, "{}", done.stderr);
    assert!(!pages.exists());
    let done = run()
        .args(["--body", "--json", "--print-config"])
        .expect_exit(0);
    let told = format!("# output-dir = {pages:?}");
    let line = done
        .stdout
        .lines()
        .find(|line| line.starts_with(&told))
        .unwrap();
    assert!(
        line.ends_with("settings.toml:1, overridden by --body"),
        "{line}"
    );
    // The environment overrides the file.
    let done = run()
        .env("FETCHALL_PACK", "x.warc")
        .arg("--print-config")
        .expect_exit(0);
    assert_eq!(shown(&done, "pack").1, "FETCHALL_PACK");
    assert_eq!(shown(&done, "sync").0, "sync = true");
    run().arg(server.url("/")).expect_exit(0);
    assert!(pages.exists());
    // --demo uses its own addresses.
    let done = settings("proxy = 'http://127.0.0.1:1'\ndeny-private = true\n")
        .args(["--demo", "-q"])
        .expect_exit(1);
    assert!(done.stdout.contains("200 "), "{}", done.stdout);
}

#[test]
fn what_needs_another_option_rests_without_it() {
    let server = Server::http(|_| response("200 OK", &[], b"ok"));
    let run = || settings("sync = true\nrefresh = true\nbody = true\n");
    let done = run().arg(server.url("/")).expect_exit(0);
    assert!(done.stdout.starts_with("200"), "{}", done.stdout);
    let done = run().arg("--print-config").expect_exit(0);
    assert!(
        done.stdout
            .contains("settings.toml:3, requires an option that is not set")
    );
    assert_eq!(shown(&done, "body").0, "body = false");
    let done = run().args(["--json", &server.url("/")]).expect_exit(0);
    assert!(done.stdout.contains("\"body\":\"ok\""), "{}", done.stdout);
    // A setting without effect overrides nothing, nor does one that depends on it.
    let done = settings("output-dir = '/nonexistent/x'\nsync = true\n")
        .env("FETCHALL_BODY", "1")
        .arg("--print-config")
        .expect_exit(0);
    assert_eq!(
        shown(&done, "output-dir").0,
        "output-dir = \"/nonexistent/x\""
    );
    assert_eq!(shown(&done, "sync").0, "sync = true");
    assert!(
        done.stdout
            .contains("FETCHALL_BODY, requires an option that is not set")
    );
    // The option it needs may be in the file, and the option itself on the command line.
    let done = settings("json = true")
        .args(["--body", &server.url("/")])
        .expect_exit(0);
    assert!(done.stdout.contains("\"body\":\"ok\""), "{}", done.stdout);
    let done = settings("retries = 1")
        .args(["--body", &server.url("/")])
        .expect_exit(2);
    insta::assert_snapshot!("body_needs_json", done.stderr);
}

#[test]
fn no_secret_is_printed() {
    let secret = "s3cret";
    let text = format!(
        "user = 'me:{secret}'\nproxy-user = 'me:{secret}'\nproxy = 'http://a:{secret}@p:1'\n\
         header = ['X-Token: {secret}', '{secret}']\ndata = '{secret}'\n"
    );
    let done = settings(&text).arg("--print-config").expect_exit(0);
    assert!(!done.stdout.contains(secret), "{}", done.stdout);
    assert_eq!(shown(&done, "proxy").0, "proxy = \"http://***@p:1\"");
    assert_eq!(
        shown(&done, "header").0,
        "header = [\"X-Token: ***\", \"***\"]"
    );
    let done = settings(&text)
        .args(["-I", "--print-config"])
        .args(["-u", secret, "-H", "X: s3cret"])
        .expect_exit(0);
    assert!(!done.stdout.contains(secret), "{}", done.stdout);
    assert!(
        done.stdout.contains("overridden by --head"),
        "{}",
        done.stdout
    );
    // Errors do not repeat secrets either.
    let done = settings(&text).arg("http://127.0.0.1:1/").expect_exit(2);
    assert!(!done.stderr.contains(secret), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn fetchall_user_beats_the_file_and_is_taken_as_it_is() {
    let server = MockServer::start().await;
    Mock::given(matchers::basic_auth("me", "@pass"))
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&server)
        .await;
    let run = || settings("user = 'other:word'").env("FETCHALL_USER", "me:@pass");
    tokio::task::block_in_place(|| run().arg(server.uri()).expect_exit(0));
    let done = run().arg("--print-config").expect_exit(0);
    assert_eq!(
        shown(&done, "user"),
        ("user = \"***\"".to_owned(), "FETCHALL_USER".to_owned())
    );
    let done = run().args(["-u", "a:b", "--print-config"]).expect_exit(0);
    assert_eq!(shown(&done, "user").1, "flag");
}

#[test]
fn variables_that_set_nothing_are_told() {
    let done = Run::new()
        .text()
        .env("FETCHALL_CONCURENCY", "3")
        .env("FETCHALL_DEMO", "1")
        .arg("--print-config")
        .expect_exit(0);
    let told = done.stdout.lines();
    let told: Vec<_> = told
        .filter(|line| line.starts_with("# unknown variable "))
        .collect();
    insta::assert_snapshot!("printed_variables_that_set_nothing", told.join("\n"));
}

#[test]
fn variables_that_set_nothing_are_a_warning_of_a_run() {
    let server = Server::http(|_| response("200 OK", &[], b"ok"));
    let run = || {
        Run::new()
            .env("FETCHALL_CONCURENCY", "3")
            .env("FETCHALL_TIMEOUT", "s3cret")
            .env("FETCHALL_RUN_LEFT", "3")
            .env("FETCHALL_SMTP_PASSWORD", "x")
            .env("FETCHALL_RETRIES", "1")
            .arg(server.url("/"))
    };
    let done = run().expect_exit(0);
    let warnings: Vec<_> = done
        .stderr
        .lines()
        .filter(|line| line.contains("warning"))
        .collect();
    insta::assert_snapshot!("variables_that_set_nothing", warnings.join("\n"));
    assert_eq!(run().arg("-q").expect_exit(0).stderr, "");
}

#[test]
fn help_and_explanations_need_no_settings() {
    for args in [
        vec!["--help"],
        vec!["--version"],
        vec!["--explain", "dns"],
        vec!["--generate", "bash"],
    ] {
        settings("nonsense").args(args).expect_exit(0);
    }
}

/// File names need not be UTF-8, and what follows `--` is not an option.
#[test]
fn other_arguments_are_passed_on_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let config = folder.file("a.toml", "retries = 0\noutput-dir = '-pages'");
    let name = std::ffi::OsStr::from_bytes(b"--l\xefste");
    fs::write(folder.0.path().join(name), "nonsense\n").unwrap();
    let mut command = crate::support::binary();
    command
        .current_dir(folder.0.path())
        .args(["--json", "--config", &config, "--"])
        .arg(name);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("invalid_url"));
    assert!(folder.path("-pages").exists());
}
