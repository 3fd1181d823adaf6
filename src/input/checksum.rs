//! The hashes that a line gives for its body.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use data_encoding::HEXLOWER_PERMISSIVE;

use crate::model::{BodyHashes, HashAlgorithm};

/// The fields with hashes: one for each algorithm, and one for any.
pub(super) const HASH_FIELDS: [&str; 5] = ["md5", "sha1", "sha256", "sha512", "checksum"];
/// Parts of the names of other columns that most likely have hashes.
const HASH_NAMES: [&str; 9] = [
    "md5", "sha1", "sha2", "sha3", "sha5", "blake2", "blake3", "checksum", "crc32",
];
/// Words that mark a column as one of hashes.
const HASH_WORDS: [&str; 4] = ["hash", "hashes", "digest", "sha"];

const CHECKSUM_FORM: &str =
    "expected sha256:HEX or sha256-BASE64; known are md5, sha1, sha256 and sha512";

/// Adds the hashes in the field of a line.
///
/// # Errors
/// A message that names the field.
pub(super) fn add_field(hashes: &mut BodyHashes, field: &str, text: &str) -> Result<(), String> {
    let added = match HashAlgorithm::named(field) {
        Some(algorithm) => add_hex(hashes, algorithm, text),
        None => add_all(hashes, text),
    };
    added.map_err(|why| format!("invalid {field}: {why}"))
}

/// Adds the hashes of a `checksum`, separated by blanks as in the `integrity` attribute of HTML.
fn add_all(hashes: &mut BodyHashes, text: &str) -> Result<(), String> {
    let mut words = text.split_ascii_whitespace().peekable();
    if words.peek().is_none() {
        return Err(CHECKSUM_FORM.to_owned());
    }
    words.try_for_each(|word| add_any(hashes, word))
}

/// Adds `sha256:HEX`, `sha256-BASE64` (Subresource Integrity, with or without options) or `HEX`.
fn add_any(hashes: &mut BodyHashes, word: &str) -> Result<(), String> {
    let known = |name: &str| HashAlgorithm::named(name).ok_or_else(|| CHECKSUM_FORM.to_owned());
    if let Some((name, hex)) = word.split_once(':') {
        return add_hex(hashes, known(name)?, hex);
    }
    // `sha-256` has a hyphen, too, and base64 has none.
    if let Some((name, value)) = word.rsplit_once('-') {
        let algorithm = known(name)?;
        let value = value.split('?').next().unwrap_or_default();
        let bytes = BASE64_STANDARD.decode(value).ok();
        let bytes = bytes.filter(|bytes| bytes.len() * 2 == algorithm.digits());
        let form = || format!("expected the {algorithm} hash in base64");
        return add(hashes, algorithm, &bytes.ok_or_else(form)?);
    }
    let algorithm = HashAlgorithm::with_digits(word.len()).ok_or(CHECKSUM_FORM)?;
    add_hex(hashes, algorithm, word)
}

fn add_hex(hashes: &mut BodyHashes, algorithm: HashAlgorithm, hex: &str) -> Result<(), String> {
    let digits = algorithm.digits();
    let bytes = Some(hex).filter(|hex| hex.len() == digits);
    let bytes = bytes.and_then(|hex| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok());
    let bytes = bytes.ok_or_else(|| format!("expected {digits} hexadecimal digits"))?;
    add(hashes, algorithm, &bytes)
}

fn add(hashes: &mut BodyHashes, algorithm: HashAlgorithm, bytes: &[u8]) -> Result<(), String> {
    if hashes.get(algorithm).is_some_and(|known| known != bytes) {
        return Err(format!("the line has another {algorithm} hash, too"));
    }
    hashes.set(algorithm, bytes);
    Ok(())
}

/// Whether a column most likely has hashes, to judge by its name.
pub(super) fn is_hash_name(name: &str) -> bool {
    let compact = name.to_ascii_lowercase();
    let compact: String = compact.chars().filter(|c| c.is_alphanumeric()).collect();
    let is_word = |word: &str| {
        HASH_WORDS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(word))
    };
    HASH_NAMES.iter().any(|part| compact.contains(part))
        || name.split(|c: char| !c.is_alphanumeric()).any(is_word)
        || name.ends_with("Hash")
}

/// Returns the warning about an unknown column that looks like a hash. `what`: column or field.
pub(super) fn unknown_hash(what: &str, name: &str) -> String {
    format!(
        "{what} {name} looks like a hash but is not checked; known are md5, sha1, sha256, sha512 and checksum"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";
    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const SRI: &str = "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    fn of(fields: &[(&str, &str)]) -> Result<BodyHashes, String> {
        let mut hashes = BodyHashes::default();
        for (field, text) in fields {
            add_field(&mut hashes, field, text)?;
        }
        Ok(hashes)
    }

    #[test]
    fn a_checksum_names_its_algorithm_or_has_its_length() {
        let sha256 = of(&[("sha256", SHA256)]).unwrap();
        let md5 = of(&[("md5", MD5)]).unwrap();
        for (text, expected) in [
            (format!("sha256:{SHA256}"), sha256),
            (format!("SHA-256:{}", SHA256.to_uppercase()), sha256),
            (SRI.to_owned(), sha256),
            (format!("{SRI}?ct=text/plain"), sha256),
            (SHA256.to_owned(), sha256),
            (format!("md5:{MD5}"), md5),
            (MD5.to_owned(), md5),
            (format!(" {SRI}  md5:{MD5} "), sha256.or(md5)),
            (format!("{SRI} sha256:{SHA256}"), sha256),
        ] {
            assert_eq!(of(&[("checksum", &text)]), Ok(expected), "{text}");
        }
        let both = [("md5", MD5), ("checksum", SRI)];
        assert_eq!(of(&both), Ok(md5.or(sha256)), "all are checked");
    }

    #[test]
    fn a_wrong_hash_names_its_field() {
        let mut page = Vec::new();
        let other = SHA256.replace("ba", "ab");
        for fields in [
            &[("md5", "")] as &[(&str, &str)],
            &[("md5", SHA256)],
            &[("sha1", "da39a3ee5e6b4b0d3255bfef95601890afd8070g")],
            &[("sha512", SHA256)],
            &[("sha256", SRI)],
            &[("checksum", "")],
            &[("checksum", "1a2b3c4d")],
            &[("checksum", "sha384:00")],
            &[("checksum", "sha384-AAAA")],
            &[("checksum", "md5:12")],
            &[("checksum", "sha256-AAAA")],
            &[("checksum", "sha256-?")],
            &[("checksum", "md5-")],
            &[("sha256", &other), ("checksum", SRI)],
        ] {
            let (field, text) = fields.last().unwrap();
            page.push(format!("{field} {text}\n{}", of(fields).unwrap_err()));
        }
        insta::assert_snapshot!("wrong_hashes", page.join("\n\n"));
    }

    #[test]
    fn columns_with_hashes_are_known_by_their_names() {
        for name in [
            "hash",
            "md5sum",
            "MD5 (hex)",
            "sha-384",
            "SHA3_256",
            "file_hash",
            "fileHash",
            "blake3",
            "Digest",
            "checksum_crc32c",
        ] {
            assert!(is_hash_name(name), "{name}");
        }
        for name in [
            "url", "hashtag", "share", "title", "phash", "mdx", "crc", "shape",
        ] {
            assert!(!is_hash_name(name), "{name}");
        }
    }
}
