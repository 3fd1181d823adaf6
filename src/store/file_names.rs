//! Which file a URL is saved in: a pure function of the URL without password and fragment.
//! No two URLs share a file and no file is where another URL needs a folder, on disks that
//! ignore case or normalize names, too. It knows no other URL and never looks at the disk.
//!
//! A `+` marks what does not stand in the path of the URL:
//!
//! - The folder is the host; `+http` and `+PORT` follow unless it is https on its own port.
//! - A name with an extension (a dot, then 1 to 12 letters and digits, a letter among them)
//!   is a file, any other a folder. Where it is the other way round, a `+` follows it.
//! - A path that ends in `/` is saved as `index+.html` in its folder.
//! - A query follows after a `+`, with `,` for `&`; a number after a `+` tells which letters
//!   are capitals. Both stand before the extension.
//! - What can't be written so (`%20`, `a//b`, `con`, `:`, a user name, over-long names …) is
//!   written as well as it goes, and 125 bits of the URL's SHA-256 follow after a `+`. Only these names
//!   lose anything: from any other the URL can be read again.
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
use percent_encoding::percent_decode_str;
use url::{Host, Position, Url};

use crate::model::{RelPath, Sha256};

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

/// Starts whatever does not stand in the path of the URL. Never part of a faithful name.
const HASH_MARK: char = '+';
/// Longest name we make, in bytes. Disks take 255, eCryptfs (Linux kernel documentation)
/// takes 143.
const MAX_NAME_BYTES: usize = 140;
/// Longest host that is written as it is: `+ipv6`, `+http` and `+65535` still fit.
const MAX_HOST_BYTES: usize = MAX_NAME_BYTES - 20;
/// Longest extension, without its dot: `webmanifest` has 11.
const MAX_EXTENSION_BYTES: usize = 12;
/// Folders below that of the host, and bytes after which no more are added.
const MAX_FOLDERS: usize = 32;
const MAX_FOLDER_BYTES: usize = 500;
/// Bytes of a name, and of a query, that are kept in front of a hash.
const MAX_STEM_BYTES: usize = 60;
const MAX_QUERY_STEM_BYTES: usize = 36;
/// Letters of base32 that are kept of a hash, five bits each. The number that tells the
/// capitals has 16 digits at most, so neither can be taken for the other.
const HASH_LETTERS: u32 = 25;
/// What is added to the URL in most names, so that one allocation does.
const TYPICAL_EXTRA_BYTES: usize = 40;

/// The file that the body of a URL is saved in, below the output folder. The module's
/// documentation has the rules.
pub fn file_path_for(url: &Url) -> RelPath {
    path_for_user(url, None)
}

/// The same for a URL that says a user name: another user may well be sent another page.
pub fn path_for_user(url: &Url, user: Option<&str>) -> RelPath {
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
    // Every name above is legal; should one ever not be, its hash is.
    RelPath::try_from(out).unwrap_or_else(|_| RelPath::from_hash(&whole_hash_of(url, user)))
}

/// What stands behind the host, without the first `/`.
struct UrlParts<'a> {
    folders: &'a str,
    /// What follows the last `/`; empty for a folder.
    name: &'a str,
    query: Option<&'a str>,
}

fn push_host(out: &mut String, url: &Url) {
    match url.host() {
        Some(Host::Ipv6(_)) => {
            let address = url.host_str().unwrap_or_default();
            let address = address.trim_matches(['[', ']']);
            if address.starts_with(':') {
                // The same address, and no name that is taken for an option.
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

/// Pushes each folder with a `/` before it. Says whether the names tell all of them.
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
            // Without dots it has no extension, whatever a disk makes of its letters.
            push_readable(out, folder, MAX_STEM_BYTES, false);
            faithful = false;
        }
    }
    faithful
}

/// Pushes the name of the file if the URL can be read from it again, else nothing.
fn push_faithful(out: &mut String, parts: &UrlParts<'_>) -> bool {
    let start = out.len();
    let query = parts.query.unwrap_or_default();
    let Some(capitals) = faithful_capitals(parts) else {
        return false;
    };
    let (stem, extension) = match parts.name {
        // The mark tells it from a file that the server calls index.html.
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

/// The number that tells the capitals, if name and query can be written as they are.
fn faithful_capitals(parts: &UrlParts<'_>) -> Option<u64> {
    let query = parts.query.unwrap_or_default();
    let writable = parts.name.len() + query.len() < MAX_NAME_BYTES
        && (parts.name.is_empty() || is_faithful(parts.name))
        && parts.query.is_none_or(is_faithful_query);
    if writable { capitals(parts) } else { None }
}

/// Pushes a name that keeps what is readable, and tells the URL by its hash.
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

/// A name, and the extension that makes it a file. Disks that ignore case must find the
/// same one, so capitals are letters, too.
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

/// Whether a name from a URL can stand on every disk as it is.
fn is_faithful(name: &str) -> bool {
    let Some(first) = name.bytes().next() else {
        return false;
    };
    let begins_well = match first {
        // Hidden, and programs obey some of them (`.git`, `.htaccess`); RFC 8615 has the
        // one that many lists ask for.
        b'.' => name == ".well-known",
        // Taken for an option, or replaced by a shell.
        b'-' | b'=' => false,
        // Microsoft, "Naming Files, Paths, and Namespaces": `LONGNA~1.TXT` is another name
        // of a file with a long one. `~smith` is not.
        b'~' => name.as_bytes().get(1).is_some_and(u8::is_ascii_alphabetic),
        first => is_safe(first),
    };
    begins_well
        && name.bytes().skip(1).all(is_safe)
        // Windows takes a dot at the end away (same page).
        && !name.ends_with('.')
        && !is_reserved(name)
}

/// Whether a character is one that every disk stores, and that no shell acts on without
/// being asked.
const fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'(' | b')' | b',' | b'=' | b'@')
}

/// Whether a query can stand in a name: its `=` tells it from a hash and from capitals, and
/// it has no dot that might begin an extension, nor the `,` that stands for `&`.
fn is_faithful_query(query: &str) -> bool {
    query.contains('=')
        && query
            .bytes()
            .all(|byte| byte == b'&' || (is_safe(byte) && !matches!(byte, b'.' | b',')))
}

/// Whether Windows takes a name for a device, whatever its case and its extension
/// (Microsoft, "Naming Files, Paths, and Namespaces"; the digits may be superscripts, but
/// those are in none of our names).
fn is_reserved(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or_default();
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

/// A bit for each letter, set for a capital: those of the name come first, since there they
/// are most often. `None` when there are capitals past the 64th letter.
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

/// Pushes as much of a text as can stand in a name: decoded, `_` for what must not be, and
/// never nothing. The dots of a folder go, too.
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

/// Beyond ASCII, letters only: no blanks, no signs, nothing that turns the line around.
/// Those of the first plane, since not every disk takes a character newer than itself.
fn is_readable(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_safe) || (!c.is_ascii() && c <= '\u{ffff}' && c.is_alphabetic())
}

/// The hash of a URL without password and fragment.
fn hash_of(url: &Url, user: Option<&str>) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(url[..Position::BeforeUsername].as_bytes());
    if let Some(user) = user {
        // No URL holds a NUL.
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

/// The first bits of a hash in base32 (RFC 4648 §6), in small letters.
fn push_hash(out: &mut String, hash: &Digest) {
    out.push(HASH_MARK);
    let bits = hash
        .as_ref()
        .iter()
        .take(16)
        .fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    out.extend((1..=HASH_LETTERS).map(|place| {
        let five = (bits >> (128 - 5 * place)) as u8 & 31;
        char::from(if five < 26 {
            b'a' + five
        } else {
            b'2' + five - 26
        })
    }));
}
