use crate::support::{Run, Server, entry, path, response};

fn site() -> Server {
    Server::http(|request| match path(request) {
        "/gone" => response(
            "404 Not Found",
            &["Content-Type: text/html; x=\"1,2\""],
            b"no",
        ),
        "/moved" => response("302 Found", &["Location: /1"], b""),
        _ => response("200 OK", &["Content-Type: text/plain"], b"body"),
    })
}

#[test]
fn a_template_prints_what_it_names() {
    let server = site();
    let done = Run::new()
        .text()
        .args([
            "--ordered",
            "-w",
            r"%{status}\t%{result}|%{bytes}|%{error}|%{url}\n",
        ])
        .urls([server.url("/1"), server.url("/gone")])
        .urls(["nonsense"])
        .expect_exit(1);
    let (one, gone) = (server.url("/1"), server.url("/gone"));
    assert_eq!(
        done.stdout,
        format!(
            "200\t200|4||{one}\n404\t404||status|{gone}\n\tinvalid_url||invalid_url|nonsense\n"
        )
    );
    let done = Run::new()
        .text()
        .args([
            "-w",
            "%{http_code} %{num_redirects} %{url_effective};",
            &server.url("/moved"),
        ])
        .expect_exit(0);
    assert_eq!(
        done.stdout,
        format!("200 1 {one};"),
        "no line end of its own"
    );
}

#[test]
fn an_endless_file_is_no_template() {
    let done = Run::new()
        .text()
        .args(["-w", "@/dev/zero", "http://127.0.0.1:1/"]);
    let stderr = done.expect_exit(2).stderr;
    let said = "cannot read the template from /dev/zero: larger than 1 MiB";
    assert!(stderr.contains(said), "{stderr}");
}

#[test]
fn a_template_can_stand_in_a_file_and_be_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("format");
    std::fs::write(&file, "%{line} %{url}\n").unwrap();
    let server = site();
    let done = Run::new()
        .text()
        .arg(format!("-w@{}", file.display()))
        .arg(server.url("/1"))
        .expect_exit(0);
    assert_eq!(done.stdout, format!("1 {}\n", server.url("/1")));
    let done = Run::new()
        .text()
        .args(["-w%{stauts}", &server.url("/1")])
        .expect_exit(2);
    insta::assert_snapshot!("field_that_is_none", done.stderr);
}

#[test]
fn a_table_has_a_row_of_names_and_a_row_for_each_url() {
    let server = site();
    let done = Run::new()
        .text()
        .args(["--csv", "--ordered"])
        .urls([server.url("/1"), server.url("/gone")])
        .urls(["a,\"b\""])
        .expect_exit(1);
    let mut rows = done.stdout.lines();
    let names: Vec<_> = rows.next().unwrap().split(',').collect();
    assert_eq!(
        &names[..6],
        ["line", "input", "url", "ok", "outcome", "status"]
    );
    let first = rows.next().unwrap();
    assert!(
        first.starts_with(&format!("1,-,{},true,fetched,200,", server.url("/1"))),
        "{first}"
    );
    let gone = rows.next().unwrap();
    assert!(gone.contains("\"text/html; x=\"\"1,2\"\"\""), "{gone}");
    let bad = rows.next().unwrap();
    assert!(
        bad.starts_with("3,-,\"a,\"\"b\"\"\",false,failed,,invalid_url,"),
        "{bad}"
    );
    // A table without rows is valid.
    let done = Run::new().text().arg("--csv").expect_exit(0);
    assert!(done.stdout.starts_with("line,input,url,") && done.stdout.lines().count() == 1);
}

/// Captions and ids of a dataset stay with what was fetched for them.
#[test]
fn kept_columns_are_in_every_output_and_in_the_journal() {
    let server = site();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let row = |at: &str| server.url(at);
    let table = format!(
        "id;image_url;url_note;status\n1;{};a, b;x\n2;{};\"=1\n2\";\n3;nonsense;c;\n",
        row("/1"),
        row("/gone")
    );
    std::fs::write(path("a.csv"), table).unwrap();
    let run = |args: &[&str]| {
        let run = Run::new()
            .args([path("a.csv")])
            .arg("--url-column=image_url");
        run.args(["--ordered", "--keep-columns=ID,url_note,status"])
            .args(args.to_vec())
    };
    let journal = path("done.jsonl");
    let done = run(&["--journal", &journal]).expect_exit(1);
    let columns: Vec<_> = done
        .records
        .iter()
        .map(|record| record.columns.as_ref().unwrap().as_json())
        .collect();
    let expected = [
        r#"{"id":"1","url_note":"a, b","status":"x"}"#,
        r#"{"id":"2","url_note":"=1\n2","status":""}"#,
        r#"{"id":"3","url_note":"c","status":""}"#,
    ];
    assert_eq!(columns, expected);
    assert_eq!(
        std::fs::read_to_string(&journal)
            .unwrap()
            .matches("\"columns\":{\"id\":\"1\"")
            .count(),
        1
    );
    let again = run(&["--journal", &journal]).expect_exit(1);
    assert_eq!(again.skipped(), 1);
    assert_eq!(
        again.records[0].columns.as_ref().unwrap().as_json(),
        expected[0]
    );

    let done = run(&["--csv"]).text().expect_exit(1);
    let mut rows = done.stdout.lines();
    assert!(
        rows.next()
            .unwrap()
            .ends_with(",ID,url_note,columns.status"),
        "{}",
        done.stdout
    );
    assert!(
        rows.next().unwrap().ends_with(",1,\"a, b\",x"),
        "{}",
        done.stdout
    );
    assert!(
        rows.next().unwrap().ends_with(",2,'=1\\n2,"),
        "{}",
        done.stdout
    );
    let template = run(&["-w", "%{columns.id} %{columns.URL_NOTE}|"])
        .text()
        .expect_exit(1);
    assert_eq!(template.stdout, "1 a, b|2 =1\\n2|3 c|");
    let wrong = run(&["-w", "%{columns.caption}"]).text().expect_exit(2);
    let mut page = vec![wrong.stderr];
    // What a column is not kept for: no option, other names, or a `*`, which is not for all.
    for kept in [None, Some("--keep-columns=*")] {
        let of_url = Run::new().text().args([path("a.csv")]).args(kept);
        let wrong = of_url.args(["-w", "%{columns.URL}"]).expect_exit(2);
        page.push(wrong.stderr);
    }
    insta::assert_snapshot!("column_that_is_not_kept", page.concat());
    std::fs::write(path("b.csv"), format!("url,id\n{},7\n", row("/1"))).unwrap();
    let all = |kept: &str| {
        let run = Run::new().text().args([path("b.csv")]);
        run.args([
            "--keep-columns",
            kept,
            "-w",
            "%{columns.url} %{columns.x}%{columns.id}",
        ])
    };
    let done = all("*,url").expect_exit(0);
    assert_eq!(done.stdout, format!("{} 7", row("/1")));
    assert!(done.stderr.contains("no column x"), "{}", done.stderr);
    // A record has room for one of a name, in any case.
    let twice = run(&["--keep-columns= image_url,iD "]).text();
    insta::assert_snapshot!("column_kept_twice", twice.expect_exit(2).stderr);

    // All columns: their names come from the first row.
    let lines = format!(
        "{{\"url\":\"{}\",\"b\":1,\"a\":\"x\"}}\n{{\"url\":\"{}\",\"c\":\"y\"}}\n",
        row("/1"),
        row("/2")
    );
    let done = Run::new()
        .text()
        .args([
            "--csv",
            "--ordered",
            "--keep-columns=*",
            "--input-format=jsonl",
        ])
        .stdin(lines)
        .expect_exit(0);
    let rows: Vec<_> = done.stdout.lines().collect();
    assert!(rows[0].ends_with(",b,a,columns"), "{}", done.stdout);
    assert!(
        rows[1].ends_with(",1,x,") && rows[2].ends_with(",,,\"{\"\"c\"\":\"\"y\"\"}\""),
        "{}",
        done.stdout
    );
}

/// Earlier results can be checked against the pages as they are now.
#[test]
fn a_table_of_results_is_a_list_again() {
    let server = site();
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("results.csv");
    let done = Run::new()
        .text()
        .args(["--csv", "--sha256", &server.url("/1"), &server.url("/2")])
        .expect_exit(0);
    std::fs::write(&table, done.stdout).unwrap();
    let done = Run::new().arg(table.to_str().unwrap()).expect_exit(0);
    assert_eq!(done.records.len(), 2);
    assert!(done.records.iter().all(|record| record.sha256.is_some()));
    // The bodies in a table of results are those of responses, and other requests are not in it.
    let posting = ["--csv", "--body", "-X", "POST", &server.url("/3")];
    let posted = Run::new().text().args(posting).expect_exit(0);
    let done = Run::new().text().args(["--csv", "--body"]);
    let done = done.arg(server.url("/4")).expect_exit(0);
    let row = posted.stdout.lines().nth(1).unwrap();
    std::fs::write(&table, format!("{}{row}\n", done.stdout)).unwrap();
    let done = Run::new()
        .args(["--ordered", table.to_str().unwrap()])
        .expect_exit(1);
    let ok: Vec<_> = done.records.iter().map(|record| record.ok).collect();
    assert_eq!(ok, [true, false]);
    assert!(server.requests().last().unwrap().starts_with("GET /4 "));
}

#[test]
fn a_body_can_be_in_a_template_or_a_table() {
    let server = Server::http(|_| response("200 OK", &[], b"a,\n=b"));
    let url = server.url("/");
    let done = Run::new()
        .text()
        .args(["--body", "-w", "%{body}|\\n", &url]);
    assert_eq!(done.expect_exit(0).stdout, "a,\\n=b|\n");
    let done = Run::new().text().args(["--body", "--csv", &url]);
    let done = done.expect_exit(0);
    assert!(done.stdout.contains(",\"a,\\n=b\","), "{}", done.stdout);
}

#[test]
fn with_nul_a_list_has_no_comments_and_what_fails_can_be_fed_back() {
    let server = site();
    let dir = tempfile::tempdir().unwrap();
    let failed = dir.path().join("failed");
    let list = format!(
        "{}\0#no\ncomment\0\0{}",
        server.url("/1"),
        server.url("/gone")
    );
    let done = Run::new()
        .args(["-0", "--ordered", "--failed", failed.to_str().unwrap()])
        .stdin(list)
        .expect_exit(1);
    let lines: Vec<_> = done
        .records
        .iter()
        .map(|record| (record.line, record.ok))
        .collect();
    assert_eq!(lines, [(1, true), (2, false), (4, false)]);
    let again = std::fs::read(&failed).unwrap();
    assert_eq!(
        again,
        format!("#no\ncomment\0{}\0", server.url("/gone")).into_bytes()
    );
    let done = Run::new()
        .arg("-0")
        .arg(failed.to_str().unwrap())
        .expect_exit(1);
    assert_eq!(done.records.len(), 2);
}

#[test]
fn print0_ends_results_by_nul() {
    let server = site();
    let urls = [server.url("/1"), server.url("/2")];
    let done = Run::new()
        .text()
        .args(["--print0", "--ordered", "-w%{url}"])
        .urls(urls.clone())
        .expect_exit(0);
    assert_eq!(done.stdout, format!("{}\0{}\0", urls[0], urls[1]));
    let done = Run::new()
        .text()
        .args(["--json", "--print0"])
        .urls(urls)
        .expect_exit(0);
    let records: Vec<_> = done.stdout.split_terminator('\0').collect();
    assert_eq!(records.len(), 2);
    assert!(
        records
            .iter()
            .all(|json| json.starts_with('{') && json.ends_with('}'))
    );
}

#[test]
fn only_one_form_of_results_can_be_asked_for() {
    let mut page = String::new();
    for pair in [
        ["--json", "--csv"],
        ["--csv", "-wx"],
        ["--json", "-wx"],
        ["--csv", "--print0"],
    ] {
        let done = Run::new()
            .text()
            .args(pair)
            .arg("http://127.0.0.1:1/")
            .expect_exit(2);
        entry(&mut page, &pair.join(" "), &done.stderr);
    }
    insta::assert_snapshot!("two_forms_of_results", page);
}

/// A spreadsheet would run such a cell as a formula.
#[test]
fn no_cell_of_a_table_is_a_formula() {
    let server = Server::http(|request| match path(request) {
        "/-1" => response("404 Not Found", &["Content-Type: =cmd|'/C calc'!A0"], b"no"),
        _ => response("404 Not Found", &["Content-Type: @SUM(A1)"], b"no"),
    });
    let bad = [
        "=1+1,2",
        "+1",
        "-1",
        "\u{ff1d}1",
        "\u{ff0b}1",
        "\u{ff0d}1",
        "\u{ff20}1",
        "'=1",
    ];
    let done = Run::new()
        .text()
        .args(["--csv", "--ordered", "-"])
        .urls(bad)
        .urls([server.url("/-1"), server.url("/2")])
        .expect_exit(1);
    let cell = |row: &str| row.splitn(3, ',').nth(2).unwrap().to_owned();
    let rows: Vec<_> = done.stdout.lines().skip(1).map(cell).collect();
    assert!(rows[0].starts_with("\"'=1+1,2\",false"), "{}", rows[0]);
    for (row, bad) in rows.iter().zip(bad).skip(1).take(6) {
        assert!(row.starts_with(&format!("'{bad},false")), "{row}");
    }
    // Two apostrophes: a reader who takes one off has what it was.
    assert!(rows[7].starts_with("''=1,false"), "{}", rows[7]);
    assert!(rows[8].starts_with(&format!("{},false", server.url("/-1"))));
    assert!(rows[8].contains(",'=cmd|'/C calc'!A0,"), "{}", rows[8]);
    assert!(rows[9].contains(",'@SUM(A1),"), "{}", rows[9]);
    assert!(done.stdout.lines().nth(1).unwrap().starts_with("1,-,"));
    // Output other than tables is unchanged.
    let done = Run::new().urls(["=1+1"]).expect_exit(1);
    assert_eq!(done.record().url, "=1+1");
}

#[test]
fn a_template_without_a_field_is_a_warning() {
    let server = site();
    let run = |template: &str| {
        Run::new()
            .text()
            .args(["--format", template, &server.url("/1")])
    };
    let done = run("json").expect_exit(0);
    assert_eq!(done.stdout, "json");
    insta::assert_snapshot!(
        "template_without_a_field",
        done.stderr.lines().next().unwrap()
    );
    assert_eq!(run("json").arg("-q").expect_exit(0).stderr, "");
    let done = run("%{url}").expect_exit(0);
    assert!(!done.stderr.contains("warning"), "{}", done.stderr);
    let done = run("").expect_exit(0);
    assert!(
        done.stderr.contains("nothing is printed"),
        "{}",
        done.stderr
    );
    let done = run("%{URL}").expect_exit(2);
    insta::assert_snapshot!("field_in_capitals", done.stderr);
}

/// A table on stdin is text unless its format is given.
#[test]
fn columns_of_a_text_list_are_warned_of() {
    for named in ["--url-column=link", "--keep-columns=id"] {
        let run = |format: &str| {
            let run = Run::new().args([named, format, "--retries=0"]);
            run.stdin("id,link,url\n1,http://127.0.0.1:1/a,http://127.0.0.1:1/b\n")
                .expect_exit(1)
        };
        let told = run("--input-format=auto").stderr;
        assert!(
            told.contains("-: read as text, which has no columns"),
            "{told}"
        );
        let told = run("--input-format=csv").stderr;
        assert!(!told.contains("no columns"), "{told}");
    }
}
