//! Work that is the client's: decoding. A second thread has to take nearly half of it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliEncoder, EncodeV2};

use super::{Bench, labelled};
use crate::nginx::PACKED;
use crate::site::Page;
use crate::table::{Cost, Ratio, Report};
use crate::work::Lists;

const WORK: &str = "3,000 brotli pages of 340 KB";
const URLS: u64 = 3_000;
/// Bytes of the decoded page.
const PAGE: usize = 340_000;
const ONE: &str = "--threads=1";
const TWO: &str = "--threads=2";
/// Wall time with two threads, of that with one.
const MOST: f64 = 0.65;

pub fn report(bench: &mut Bench) -> Report {
    if std::thread::available_parallelism().is_ok_and(|count| count.get() < 2) {
        return Report {
            notes: vec![format!("{WORK}: there is one processor.")],
            ..Report::default()
        };
    }
    let packed = pack(&text(&bench.folder, &bench.pages));
    fs::write(bench.large.path().join(PACKED), &packed).expect("a file of ours");
    let url = |number| {
        let path = format!("packed/{number}");
        bench.nginx.url(Ipv4Addr::LOCALHOST, &path)
    };
    let urls: Vec<_> = (0..URLS).map(url).collect();
    let lists = Lists::new(&urls, URLS * packed.len() as u64).expect("a temporary file");
    let programs = [ONE, TWO].map(|threads| bench.ours().with(threads, &[threads]));
    let rounds = bench.run(&lists, &programs);
    let [one, two] = [ONE, TWO].map(|threads| labelled(&rounds, threads));
    let ratio = Ratio::of(
        &format!("{WORK}, {TWO}"),
        &format!("itself with {ONE}"),
        two,
        one,
    );
    Report {
        costs: Cost::all(WORK, &rounds),
        ratios: vec![ratio.wall(MOST)],
        ..Report::default()
    }
}

/// Returns the start of all pages together.
fn text(folder: &Path, pages: &[Page]) -> Vec<u8> {
    let mut text = Vec::with_capacity(PAGE * 2);
    for page in pages {
        text.extend(fs::read(folder.join(&page.path)).expect("a page"));
        if text.len() >= PAGE {
            break;
        }
    }
    text.truncate(PAGE);
    text
}

fn pack(text: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; text.len() + 4096];
    let mut encoder = BrotliEncoder::new(EncoderParams::default());
    let mut from = PartialBuffer::new(text);
    let mut to = WriteBuffer::new_initialized(&mut buffer);
    while !from.unwritten().is_empty() {
        encoder.encode(&mut from, &mut to).expect("text");
    }
    while !encoder.finish(&mut to).expect("room") {}
    let length = to.written_len();
    buffer.truncate(length);
    buffer
}
