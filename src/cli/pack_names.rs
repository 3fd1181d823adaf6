//! Names of packs, in which `{n}` stands for the number of a pack and `{shard}` for that of a shard.

use std::path::{Path, PathBuf};

use fetchall::Shard;
use fetchall::program::check_pack_name;

use super::Cli;
use super::usage_error::UsageError;

const NUMBER: &str = "{n}";
const SHARD: &str = "{shard}";

/// Returns the name of the pack, with the number of the shard.
///
/// # Errors
/// [`UsageError`] if an option needs something else in the name.
pub(super) fn pack_name(cli: &Cli) -> Result<Option<PathBuf>, UsageError> {
    let Some(path) = &cli.saving.pack else {
        return Ok(None);
    };
    let shard = cli.cluster.shard()?.map(Shard::index);
    let path = with_shard(path, shard)?;
    let is_in = |part: Option<&std::ffi::OsStr>| {
        part.is_some_and(|part| part.to_string_lossy().contains(NUMBER))
    };
    if is_in(path.parent().map(Path::as_os_str)) {
        return Err(wrong(
            &path,
            "{n} is for the name of the file, not of a directory",
        ));
    }
    check_pack_name(&path).map_err(|error| wrong(&path, &error.to_string()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.matches(NUMBER).count() {
        0 => match option_for_series(cli) {
            Some(option) => Err(UsageError::PackWithoutNumber {
                option,
                instead: numbered(&path),
            }),
            None => Ok(Some(path)),
        },
        1 => Ok(Some(path)),
        _ => Err(wrong(&path, "{n} may be there once")),
    }
}

/// Fails for an option of another format than that of the pack.
pub(super) fn check_format(cli: &Cli) -> Result<(), UsageError> {
    let Some(path) = &cli.saving.pack else {
        return Ok(());
    };
    let is_tar = path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("tar"));
    let wrong = |option, format, end: &str| {
        let (stem, _) = split_end(path);
        let instead = path.with_file_name(stem + end);
        Err(UsageError::PackFormat {
            option,
            format,
            instead,
        })
    };
    match is_tar {
        true if cli.saving.cdxj => wrong("cdxj", "WARC", ".warc.gz"),
        false if cli.saving.caption_column.is_some() => wrong("caption-column", "tar", ".tar"),
        _ => Ok(()),
    }
}

/// Whether a name stands for several packs.
pub(super) fn is_series(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().contains(NUMBER)
}

fn with_shard(path: &Path, shard: Option<u32>) -> Result<PathBuf, UsageError> {
    match (path.to_str().filter(|text| text.contains(SHARD)), shard) {
        (None, _) => Ok(path.to_owned()),
        (Some(text), Some(shard)) => Ok(text.replace(SHARD, &shard.to_string()).into()),
        (Some(_), None) => Err(wrong(path, "{shard} needs --shard")),
    }
}

/// Returns the name of an option that only a series of packs has.
fn option_for_series(cli: &Cli) -> Option<&'static str> {
    let options = [
        ("pack-size", cli.saving.pack_size.is_some()),
        ("pack-done", cli.saving.pack_done.is_some()),
    ];
    let given = options.into_iter().find(|(_, is_given)| *is_given);
    given.map(|(option, _)| option)
}

/// Returns the name with `-{n}` before its extension.
fn numbered(path: &Path) -> PathBuf {
    let (stem, end) = split_end(path);
    path.with_file_name(format!("{stem}-{NUMBER}{end}"))
}

/// Splits the name of a pack before its extension.
fn split_end(path: &Path) -> (String, &'static str) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = [".warc.gz", ".warc", ".tar"];
    let end = ends
        .into_iter()
        .find(|end| name.ends_with(end))
        .unwrap_or_default();
    let stem = name.strip_suffix(end).unwrap_or(&name);
    (stem.to_owned(), end)
}

fn wrong(path: &Path, wrong: &str) -> UsageError {
    let (path, wrong) = (path.to_owned(), wrong.to_owned());
    UsageError::PackName { path, wrong }
}
