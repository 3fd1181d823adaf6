use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::series::Series;
use super::{noise, path_of};
use crate::support::{Server, response};

/// Larger than what the AWS command sends in one piece (8 MB).
const LARGE: usize = 20_000_000;

/// An S3 server on this machine, and the AWS command for it.
struct Bucket {
    server: Child,
    endpoint: String,
    bin: PathBuf,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Bucket {
    /// Starts it; `None` without the programs. `FETCHALL_S3_BIN` is a directory with
    /// `moto_server` and `aws`, which `FETCHALL_NEEDS_S3` demands.
    fn start() -> Option<Self> {
        let Some(bin) = std::env::var_os("FETCHALL_S3_BIN") else {
            assert!(
                std::env::var_os("FETCHALL_NEEDS_S3").is_none(),
                "no FETCHALL_S3_BIN"
            );
            println!("skipped: no FETCHALL_S3_BIN");
            return None;
        };
        let bin = PathBuf::from(bin);
        let mut server = Command::new(bin.join("moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(server.stderr.take().unwrap()).lines();
        let address = said.by_ref().find_map(|line| {
            let line = line.unwrap();
            let (_, address) = line.split_once("Running on ")?;
            Some(address.trim().to_owned())
        });
        // The server must not block on its log.
        std::thread::spawn(move || said.for_each(drop));
        let endpoint = address.unwrap();
        let bucket = Self {
            server,
            endpoint,
            bin,
        };
        bucket.aws(&["s3", "mb", "s3://crawls"]);
        Some(bucket)
    }

    fn variables(&self) -> [(&'static str, String); 7] {
        let paths = [self.bin.clone(), "/usr/bin".into(), "/bin".into()];
        let path = std::env::join_paths(paths).unwrap().into_string().unwrap();
        [
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("PATH", path),
        ]
    }

    fn aws(&self, args: &[&str]) -> String {
        let mut aws = Command::new(self.bin.join("aws"));
        let output = aws.args(args).envs(self.variables()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn head(&self, key: &str) -> serde_json::Value {
        let head = self.aws(&["s3api", "head-object", "--bucket", "crawls", "--key", key]);
        serde_json::from_str(&head).unwrap()
    }

    /// Runs and checks that all is in the bucket.
    fn deliver(&self, series: &Series, urls: &[String], command: &str) {
        let mut run = series.run().args(["--pack-done", command]);
        for (name, value) in self.variables() {
            run = run.env(name, value);
        }
        run.urls(urls).expect_exit(0);
        let (_, notes) = series.journaled();
        let finished = notes.iter().filter(|note| note["pack_note"] == "finished");
        for note in finished {
            let key = format!("x-{:05}.warc", note["n"].as_u64().unwrap());
            assert_eq!(self.head(&key)["ContentLength"], note["bytes"]);
        }
    }
}

fn server() -> Server {
    Server::http(|request| match path_of(request) {
        "/large" => response("200 OK", &[], &noise(1, LARGE)),
        path => response("200 OK", &[], path.as_bytes()),
    })
}

#[test]
fn the_recipe_brings_packs_to_s3_large_ones_in_parts() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let server = server();
    let urls: Vec<_> = ["/small", "/large", "/last"]
        .map(|path| server.url(path))
        .into();
    let series = Series::new("x-{n}.warc");
    let command = "aws s3 cp \"$FETCHALL_RUN_PACK\" s3://crawls/ && rm \"$FETCHALL_RUN_PACK\"";
    bucket.deliver(&series, &urls, command);
    assert_eq!(series.files(), [""; 0]);
    let head = bucket.head("x-00000.warc");
    assert!(
        head["ETag"].as_str().unwrap().contains("-"),
        "in parts: {head}"
    );
    let copy = series.dir.path().join("copy.warc");
    bucket.aws(&[
        "s3",
        "cp",
        "s3://crawls/x-00000.warc",
        copy.to_str().unwrap(),
    ]);
    let (records, _) = series.journaled();
    let place = records
        .iter()
        .find(|record| record.url.ends_with("/large"))
        .unwrap()
        .pack
        .unwrap();
    assert_eq!(place.n, Some(0));
    let large = crate::support::WarcRecord::alone(&copy, place);
    assert!(large.payload() == noise(1, LARGE));
}

#[test]
fn a_pack_that_must_not_be_replaced_is_delivered_if_it_is_there() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let server = server();
    let urls = vec![server.url("/a")];
    let series = Series::new("x-{n}.warc");
    let command = "aws s3api put-object --bucket crawls --key \"${FETCHALL_RUN_PACK##*/}\" --body \"$FETCHALL_RUN_PACK\" \
                   --if-none-match '*' 2> \"$FETCHALL_RUN_PACK.log\" || grep -q PreconditionFailed \"$FETCHALL_RUN_PACK.log\"";
    bucket.deliver(&series, &urls, command);
    // As if the run had been killed before it noted the delivery.
    let journal = fs::read_to_string(series.journal()).unwrap();
    let (kept, delivered) = journal.rsplit_once("{\"pack_note\"").unwrap();
    assert!(delivered.contains("delivered"));
    fs::write(series.journal(), kept).unwrap();
    bucket.deliver(&series, &urls, command);
    let log = fs::read_to_string(series.dir.path().join("x-00000.warc.log")).unwrap();
    assert!(log.contains("PreconditionFailed"), "{log}");
}
