//! Fuzzes the reader of sitemaps and feeds.

use super::tests::read_through;
use super::{MAX_DATE_BYTES, MAX_LOCATION_BYTES};
use crate::fuzz::{FuzzCampaign, FuzzInput, FuzzVerdict, hold};

fn try_sitemap(input: &FuzzInput<'_>) -> FuzzVerdict {
    // What is in front of the reader removes the mark of UTF-8.
    let mut bytes = input.bytes;
    while let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        bytes = rest;
    }
    let read = |capacity| {
        let read = read_through(bytes, capacity);
        read.map_err(|error| error.to_string())
    };
    let whole = read(1 << 16);
    let piece = [1, 7, 100][(input.number % 3) as usize];
    let in_pieces = read(piece);
    hold!(
        whole == in_pieces,
        "{whole:?}\nin pieces of {piece}: {in_pieces:?}"
    );
    let entries = match &whole {
        Ok(entries) => entries,
        Err(message) => {
            hold!(message.len() < 300, "too long: {message}");
            return Ok("rejected");
        }
    };
    let mut length = 0;
    for entry in entries {
        hold!(entry.location.len() <= MAX_LOCATION_BYTES, "{entry:?}");
        let date = entry.modified.as_deref().unwrap_or_default();
        hold!(date.len() <= MAX_DATE_BYTES, "{entry:?}");
        length += entry.location.len() + date.len();
    }
    // Text is never longer than the entities in it, unless some are expanded.
    hold!(length <= input.bytes.len(), "{length} bytes: {entries:?}");
    Ok(
        match entries.iter().filter(|entry| entry.flaw.is_some()).count() {
            _ if entries.is_empty() => "empty",
            0 => "only URLs",
            _ => "URLs that cannot be read",
        },
    )
}

const TOKENS: &[&[u8]] = &[
    b"<urlset>",
    b"</urlset>",
    b"<sitemapindex>",
    b"<rss><channel>",
    b"<rdf:RDF>",
    b"<feed>",
    b"<url>",
    b"</url>",
    b"<url/>",
    b"<loc>",
    b"</loc>",
    b"<s:loc xmlns:s=\"x\">",
    b"<image:loc>",
    b"<lastmod>",
    b"</lastmod>",
    b"<item>",
    b"</item>",
    b"<link>",
    b"</link>",
    b"<link href=\"http://a.test/\"/>",
    b"<link rel='self' href='x'/>",
    b"<guid isPermaLink=\"false\">",
    b"<entry>",
    b"</entry>",
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"-->",
    b"<?xml version=\"1.0\" encoding=\"latin1\"?>",
    b"<!DOCTYPE a [<!ENTITY a \"http://a.test/\">]>",
    b"&a;",
    b"&amp;",
    b"&#0;",
    b"&#x10ffff;",
    b"&#xd800;",
    b"&",
    b"<",
    b">",
    b"\"",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"http://a.test/",
];

#[test]
fn sitemaps() {
    let fuzz = FuzzCampaign {
        corpus: "sitemaps",
        tokens: TOKENS,
        inputs: 6000,
        one_of: 1,
    };
    fuzz.run(try_sitemap);
}
