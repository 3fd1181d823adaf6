//! Hashes that a response gives of its own body: `Repr-Digest` (RFC 9530), `Content-MD5` (RFC 2616)
//! and `x-goog-hash` of Google Cloud Storage. Values that cannot be read are ignored, as are those
//! of other algorithms.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, StatusCode};

use crate::fetch::codings;
use crate::model::{BodyHashes, HashAlgorithm, ResponseHead};

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const GOOG_HASH: HeaderName = HeaderName::from_static("x-goog-hash");

/// Returns the hashes of the whole body that the response gives. `is_rest`: it completes a partial
/// body.
///
/// There are none if it has a content coding: servers and proxies that compress on the way leave
/// the hash of what they compressed. Nor if it is a part that the user has asked for.
pub(super) fn announced(head: &ResponseHead, is_rest: bool) -> Option<Box<BodyHashes>> {
    let is_digest = |name| [REPR_DIGEST, CONTENT_MD5, GOOG_HASH].contains(name);
    // A shortcut: most responses have none, and each lookup computes a hash.
    if !head.headers.keys().any(is_digest) {
        return None;
    }
    let is_part = head.status == StatusCode::PARTIAL_CONTENT;
    let is_uncoded = codings(&head.headers).is_some_and(|codings| codings.is_empty());
    if !is_uncoded || is_part != is_rest {
        return None;
    }
    let mut hashes = BodyHashes::default();
    for member in members(head, REPR_DIGEST) {
        take_repr_digest(member, &mut hashes);
    }
    for member in members(head, GOOG_HASH) {
        if let Some(value) = member.strip_prefix("md5=") {
            set(HashAlgorithm::Md5, value, &mut hashes);
        }
    }
    // Of a part, it may be the hash of that part (RFC 2616 §14.15) or of the whole.
    if !is_part && let Some(value) = head.header_str(CONTENT_MD5) {
        set(HashAlgorithm::Md5, value.trim(), &mut hashes);
    }
    hashes.boxed()
}

/// Returns the members of a header that is a list.
fn members(head: &ResponseHead, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = head.headers.get_all(name).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// Takes `sha-256=:BASE64:` (RFC 9651), with or without parameters.
fn take_repr_digest(member: &str, hashes: &mut BodyHashes) {
    let Some((name, value)) = member.split_once('=') else {
        return;
    };
    let algorithm = match name {
        "sha-256" => HashAlgorithm::Sha256,
        "sha-512" => HashAlgorithm::Sha512,
        _ => return,
    };
    let value = value
        .strip_prefix(':')
        .and_then(|value| value.split_once(':'));
    if let Some((value, _)) = value {
        set(algorithm, value, hashes);
    }
}

/// Sets a hash in base64. The first one that is valid counts.
fn set(algorithm: HashAlgorithm, value: &str, hashes: &mut BodyHashes) {
    if hashes.get(algorithm).is_none()
        && let Ok(bytes) = BASE64_STANDARD.decode(value)
    {
        hashes.set(algorithm, &bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    /// Of `abc`.
    const SHA256: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
    const MD5: &str = "kAFQmDzST7DWlj99KOF/cg==";

    fn found(status: StatusCode, is_rest: bool, lines: &[(&str, &str)]) -> Vec<HashAlgorithm> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let head = ResponseHead::http11(status, headers);
        let Some(hashes) = announced(&head, is_rest) else {
            return Vec::new();
        };
        assert!(
            hashes
                .md5
                .is_none_or(|hash| hash.to_string().starts_with("9001"))
        );
        assert!(
            hashes
                .sha256
                .is_none_or(|hash| hash.to_string().starts_with("ba78"))
        );
        hashes.algorithms().collect()
    }

    #[test]
    fn hashes_are_read_from_the_headers_that_have_them() {
        use HashAlgorithm::{Md5, Sha256};
        let of = |lines: &[(&str, &str)]| found(StatusCode::OK, false, lines);
        let repr = format!("sha-256=:{SHA256}:");
        let goog = format!("crc32c=n03x6A==,md5={MD5}");
        assert_eq!(of(&[("repr-digest", &repr)]), [Sha256]);
        let several = format!("unixsum=30637, sha=:x:, {repr};a=1, sha-256=:AAAA:");
        assert_eq!(of(&[("repr-digest", &several)]), [Sha256]);
        assert_eq!(of(&[("content-md5", MD5)]), [Md5]);
        assert_eq!(of(&[("x-goog-hash", &goog)]), [Md5]);
        let lines = [("x-goog-hash", "crc32c=n03x6A=="), ("x-goog-hash", &goog)];
        assert_eq!(of(&lines), [Md5]);
        let both = [("content-md5", MD5), ("repr-digest", &repr)];
        assert_eq!(of(&both), [Md5, Sha256]);
        for (name, value) in [
            ("repr-digest", SHA256),
            ("repr-digest", "sha-256=:AAAA:"),
            ("repr-digest", "sha-256=:?:"),
            ("repr-digest", "sha-256=:"),
            ("repr-digest", "md5=:kAFQmDzST7DWlj99KOF/cg==:"),
            ("content-digest", &repr),
            ("content-md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("content-md5", ""),
            ("x-goog-hash", "crc32c=n03x6A=="),
            ("etag", MD5),
        ] {
            assert_eq!(of(&[(name, value)]), [], "{name}: {value}");
        }
    }

    #[test]
    fn coded_bodies_and_parts_are_not_compared() {
        use HashAlgorithm::{Md5, Sha256};
        let repr = format!("sha-256=:{SHA256}:");
        let lines = [("content-md5", MD5), ("repr-digest", &repr)];
        let part = StatusCode::PARTIAL_CONTENT;
        assert_eq!(found(part, true, &lines), [Sha256]);
        assert_eq!(found(part, false, &lines), []);
        assert_eq!(found(StatusCode::OK, false, &lines), [Md5, Sha256]);
        let coded = [lines[0], lines[1], ("content-encoding", "gzip")];
        assert_eq!(found(StatusCode::OK, false, &coded), []);
    }
}
