//! Maps a URL to the file its body is saved in: a pure function of the URL without password and
//! fragment. No two URLs share a file, and no file is where another URL needs a directory, even on
//! file systems that ignore case or normalize names. Depends neither on other URLs nor on the disk.
//!
//! A `+` marks what is not part of the path of the URL:
//!
//! - The top directory is the host, followed by `+http` for http and by `+PORT` for a port other
//!   than the default of the scheme.
//! - A name with an extension (a dot, then 1 to 12 letters and digits, at least one letter) is
//!   expected to be a file, any other name a directory. If it is the opposite, a `+` is appended.
//! - A path that ends in `/` is saved as `index+.html` in its directory.
//! - A query is appended after a `+`, with `,` for `&`. A hexadecimal number after a `+` encodes
//!   which letters are upper case. Both precede the extension.
//! - Whatever cannot be written this way (`%20`, `a//b`, `con`, `:`, a user name, long names, …) is
//!   approximated, and 125 bits of the URL's SHA-256 are appended after a `+`. Only these names
//!   lose information; all others can be converted back to the URL.
//!
//! | URL | file |
//! |---|---|
//! | `https://example.com/blog/post.html` | `example.com/blog/post.html` |
//! | `https://example.com/` | `example.com/index+.html` |
//! | `https://example.com/docs` | `example.com/docs+` |
//! | `https://example.com/repo.git/v1.2/docs` | `example.com/repo.git+/v1.2/docs+` |
//! | `http://example.com:8080/a.png` | `example.com+http+8080/a.png` |
//! | `https://example.com/img?id=7&size=xl` | `example.com/img+id=7,size=xl` |
//! | `https://example.com/img.php?id=7` | `example.com/img+id=7.php` |
//! | `https://example.com/blog/README.md` | `example.com/blog/README+3f.md` |
//! | `https://example.com/my%20photo.jpg` | `example.com/my_photo+7d7vbmh6sph4f2za6cvwt5gjw.jpg` |
//! | `https://[2001:db8::1]/a.png` | `2001-db8--1+ipv6/a.png` |

use std::fmt::Write;

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use data_encoding::BASE32_NOPAD;
use percent_encoding::percent_decode_str;
use url::{Host, Position, Url};

use crate::model::{RelPath, Sha256};

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

/// Precedes everything that is not part of the URL's path. Never occurs in a faithful name.
const HASH_MARK: char = '+';
/// Maximum length of a name, in bytes. Most file systems allow 255, eCryptfs only 143 (Linux kernel
/// documentation).
const MAX_NAME_BYTES: usize = 140;
/// Maximum length of a host that is written unchanged; leaves space for `+ipv6`, `+http` and
/// `+65535`.
const MAX_HOST_BYTES: usize = MAX_NAME_BYTES - 20;
/// Maximum length of an extension, without its dot; `webmanifest` has 11.
const MAX_EXTENSION_BYTES: usize = 12;
/// Maximum number of directories below that of the host, and the bytes after which no more are
/// added.
const MAX_FOLDERS: usize = 32;
const MAX_FOLDER_BYTES: usize = 500;
/// Maximum number of bytes of a name, and of a query, that are kept before a hash.
const MAX_STEM_BYTES: usize = 60;
const MAX_QUERY_STEM_BYTES: usize = 36;
/// Number of base32 letters of a hash, five bits each. The number for upper-case letters has at
/// most 16 digits, so the two cannot be confused.
const HASH_LETTERS: usize = 25;
/// Bytes that most names add to the URL, so that one allocation is enough.
const TYPICAL_EXTRA_BYTES: usize = 40;

/// Returns the file for the body of a URL, relative to the output directory. See the module
/// documentation for the rules.
pub fn file_path_for(url: &Url) -> RelPath {
    path_for_user(url, None)
}

/// Like [`file_path_for`], for a URL with a user name: users may get different content.
pub(crate) fn path_for_user(url: &Url, user: Option<&str>) -> RelPath {
    let mut out = String::with_capacity(url.as_str().len() + TYPICAL_EXTRA_BYTES);
    push_host(&mut out, url);
    let path = url.path();
    let path = path.strip_prefix('/').unwrap_or(path);
    let (folders, name) = match path.rsplit_once('/') {
        Some((folders, name)) => (Some(folders), name),
        None => (None, path),
    };
    let faithful = folders.is_none_or(|folders| push_folders(&mut out, folders));
    out.push('/');
    let parts = UrlParts {
        folders: folders.unwrap_or_default(),
        name,
        query: url.query(),
    };
    if user.is_some() || !(faithful && push_faithful(&mut out, &parts)) {
        push_hashed(&mut out, &parts, &hash_of(url, user));
    }
    // Names built above are always valid; the hash is only a safeguard.
    RelPath::try_from(out).unwrap_or_else(|_| RelPath::from_hash(&whole_hash_of(url, user)))
}

/// The path and query of a URL, without the first `/`.
struct UrlParts<'a> {
    folders: &'a str,
    /// The part after the last `/`; empty if the path ends in `/`.
    name: &'a str,
    query: Option<&'a str>,
}

fn push_host(out: &mut String, url: &Url) {
    match url.host() {
        Some(Host::Ipv6(_)) => {
            let address = url.host_str().unwrap_or_default();
            let address = address.trim_matches(['[', ']']);
            if address.starts_with(':') {
                // The same address, but not a name that starts with `-`, like an option.
                out.push('0');
            }
            out.extend(address.chars().map(|c| if c == ':' { '-' } else { c }));
            out.push_str("+ipv6");
        }
        _ => push_domain(out, url.host_str().unwrap_or_default()),
    }
    if url.scheme() != "https" {
        out.push(HASH_MARK);
        out.push_str(url.scheme());
    }
    if let Some(port) = url.port() {
        push_number(out, format_args!("{port}"));
    }
}

fn push_domain(out: &mut String, host: &str) {
    if host.len() <= MAX_HOST_BYTES && is_faithful(host) && !RelPath::is_reserved(host) {
        out.push_str(host);
    } else {
        push_readable(out, host, MAX_STEM_BYTES, true);
        push_hash(out, &digest(&SHA256, host.as_bytes()));
    }
}

/// Appends each directory with a `/` before it. Returns whether all names are faithful.
fn push_folders(out: &mut String, folders: &str) -> bool {
    let end = out.len() + MAX_FOLDER_BYTES;
    let mut faithful = true;
    for (number, folder) in folders.split('/').enumerate() {
        if number == MAX_FOLDERS || out.len() > end {
            return false;
        }
        out.push('/');
        if folder.len() < MAX_NAME_BYTES && is_faithful(folder) {
            out.push_str(folder);
            if split_extension(folder).1.is_some() {
                out.push(HASH_MARK);
            }
        } else {
            // Without dots there is no extension, however a file system normalizes the letters.
            push_readable(out, folder, MAX_STEM_BYTES, false);
            faithful = false;
        }
    }
    faithful
}

/// Appends the file name if the URL can be restored from it; otherwise appends nothing and returns
/// false.
fn push_faithful(out: &mut String, parts: &UrlParts<'_>) -> bool {
    let start = out.len();
    let query = parts.query.unwrap_or_default();
    let Some(capitals) = faithful_capitals(parts) else {
        return false;
    };
    let (stem, extension) = match parts.name {
        // The `+` distinguishes it from a URL that ends in index.html.
        "" => ("index+", Some("html")),
        name => split_extension(name),
    };
    out.push_str(stem);
    if !query.is_empty() {
        out.push(HASH_MARK);
        out.extend(query.chars().map(|c| if c == '&' { ',' } else { c }));
    }
    if capitals != 0 {
        push_number(out, format_args!("{capitals:x}"));
    }
    match extension {
        Some(extension) => push_extension(out, extension),
        None if query.is_empty() && capitals == 0 => out.push(HASH_MARK),
        None => {}
    }
    let fits = out.len() - start <= MAX_NAME_BYTES;
    if !fits {
        out.truncate(start);
    }
    fits
}

/// Returns the number for the upper-case letters if name and query can be written faithfully.
fn faithful_capitals(parts: &UrlParts<'_>) -> Option<u64> {
    let query = parts.query.unwrap_or_default();
    let writable = parts.name.len() + query.len() < MAX_NAME_BYTES
        && (parts.name.is_empty() || is_faithful(parts.name))
        && parts.query.is_none_or(is_faithful_query);
    if writable { capitals(parts) } else { None }
}

/// Appends a readable approximation of the name, and the hash of the URL.
fn push_hashed(out: &mut String, parts: &UrlParts<'_>, hash: &Digest) {
    let (stem, extension) = match parts.name {
        "" => ("index", Some("html")),
        name => split_extension(name),
    };
    push_readable(out, stem, MAX_STEM_BYTES, true);
    if let Some(query) = parts.query.filter(|query| !query.is_empty()) {
        out.push('_');
        push_readable(out, query, MAX_QUERY_STEM_BYTES, true);
    }
    push_hash(out, hash);
    if let Some(extension) = extension {
        push_extension(out, extension);
    }
}

fn push_extension(out: &mut String, extension: &str) {
    out.push('.');
    out.push_str(extension);
}

fn push_number(out: &mut String, number: std::fmt::Arguments<'_>) {
    out.push(HASH_MARK);
    // Writing to a String can't fail.
    let _ = out.write_fmt(number);
}

/// Splits off the extension that makes a name a file. Upper-case letters count, too, so that the
/// result is the same on file systems that ignore case.
fn split_extension(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((stem, extension))
            if !stem.is_empty()
                && extension.len() <= MAX_EXTENSION_BYTES
                && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && extension.bytes().any(|byte| byte.is_ascii_alphabetic()) =>
        {
            (stem, Some(extension))
        }
        _ => (name, None),
    }
}

/// Returns whether a name from a URL is valid, unchanged, on all file systems.
fn is_faithful(name: &str) -> bool {
    let Some(first) = name.bytes().next() else {
        return false;
    };
    let is_first_allowed = match first {
        // Hidden files; some configure programs (`.git`, `.htaccess`). The exception is common in
        // lists (RFC 8615).
        b'.' => name == ".well-known",
        // Looks like an option, or is expanded by some shells.
        b'-' | b'=' => false,
        // `LONGNA~1.TXT` is an alias of a file with a long name (Microsoft, "Naming Files, Paths,
        // and Namespaces"); `~smith` is not.
        b'~' => name.as_bytes().get(1).is_some_and(u8::is_ascii_alphabetic),
        first => is_safe(first),
    };
    is_first_allowed
        && name.bytes().skip(1).all(is_safe)
        // Windows strips a trailing dot (same page).
        && !name.ends_with('.')
        && !is_reserved(name)
}

/// Returns whether a character is valid in names on all file systems and has no special meaning in
/// shells.
const fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'(' | b')' | b',' | b'=' | b'@')
}

/// Returns whether a query can be written faithfully: it needs a `=`, to differ from a hash and
/// from the upper-case number, and must not contain a dot, which might start an extension, or the
/// `,` that replaces `&`.
fn is_faithful_query(query: &str) -> bool {
    query.contains('=')
        && query
            .bytes()
            .all(|byte| byte == b'&' || (is_safe(byte) && !matches!(byte, b'.' | b',')))
}

/// Returns whether a name is a device on Windows, regardless of case and extension (Microsoft,
/// "Naming Files, Paths, and Namespaces"). The superscript digits it also lists do not occur in our
/// names.
fn is_reserved(name: &str) -> bool {
    // Devices have three or four letters, so a dot further on does not matter.
    let dot = name.bytes().take(5).position(|byte| byte == b'.');
    let base = dot.and_then(|dot| name.get(..dot)).unwrap_or(name);
    let is = |device: &str| base.eq_ignore_ascii_case(device);
    match base.len() {
        3 => ["con", "prn", "aux", "nul"].into_iter().any(is),
        4 => {
            base.ends_with(|c: char| c.is_ascii_digit())
                && base.get(..3).is_some_and(|port| {
                    port.eq_ignore_ascii_case("com") || port.eq_ignore_ascii_case("lpt")
                })
        }
        _ => false,
    }
}

/// Returns one bit per letter, set for upper case, starting with the letters of the name, where
/// upper case is most common. `None` if there is an upper-case letter after the 64th letter.
fn capitals(parts: &UrlParts<'_>) -> Option<u64> {
    let query = parts.query.unwrap_or_default();
    let texts = [parts.name, query, parts.folders];
    if !texts
        .iter()
        .any(|text| text.bytes().any(|b| b.is_ascii_uppercase()))
    {
        return Some(0);
    }
    let letters = texts
        .into_iter()
        .flat_map(str::bytes)
        .filter(u8::is_ascii_alphabetic);
    let mut bit = Some(1_u64);
    let mut set = 0;
    for letter in letters {
        if letter.is_ascii_uppercase() {
            set |= bit?;
        }
        bit = bit.and_then(|bit| bit.checked_mul(2));
    }
    Some(set)
}

/// Appends a text, percent-decoded, with `_` for characters that are not allowed, up to `max` bytes
/// and never empty. Dots are replaced, too, unless `keep_dots` is set.
fn push_readable(out: &mut String, text: &str, max: usize, keep_dots: bool) {
    let start = out.len();
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    for c in decoded.chars() {
        let c = match c {
            '.' if !keep_dots || out.len() == start => '_',
            '-' | '=' if out.len() == start => '_',
            c if is_readable(c) => c,
            _ => '_',
        };
        if out.len() + c.len_utf8() > start + max {
            break;
        }
        if c != '_' || !out.ends_with('_') || out.len() == start {
            out.push(c);
        }
    }
    let pushed = out.get(start..).unwrap_or_default();
    if pushed.is_empty() || is_reserved(pushed) {
        out.insert(start, '_');
    }
}

/// Returns whether a character is kept in an approximated name. Beyond ASCII these are letters
/// only: no spaces, symbols or direction marks. Only the Basic Multilingual Plane, since some file
/// systems reject characters newer than themselves.
fn is_readable(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_safe) || (!c.is_ascii() && c <= '\u{ffff}' && c.is_alphabetic())
}

/// Hashes a URL without password and fragment.
fn hash_of(url: &Url, user: Option<&str>) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(url[..Position::BeforeUsername].as_bytes());
    if let Some(user) = user {
        // A NUL cannot occur in a URL, so the user is unambiguous.
        for part in ["\0", user, "\0"] {
            context.update(part.as_bytes());
        }
    }
    context.update(url[Position::BeforeHost..Position::AfterQuery].as_bytes());
    context.finish()
}

fn whole_hash_of(url: &Url, user: Option<&str>) -> Sha256 {
    let mut bytes = [0; 32];
    let hash = hash_of(url, user);
    for (to, from) in bytes.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    Sha256(bytes)
}

/// Appends the first bits of a hash in base32 (RFC 4648 §6), in lower case.
fn push_hash(out: &mut String, hash: &Digest) {
    out.push(HASH_MARK);
    let letters = BASE32_NOPAD.encode(hash.as_ref());
    let first = letters.chars().take(HASH_LETTERS);
    out.extend(first.map(|letter| letter.to_ascii_lowercase()));
}
