//! Rejects options under which one file would be read and written at once, or stdin or a file used
//! twice.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use fetchall::program::{Source, add_extension};

use super::Cli;
use super::config_paths::is_url;
use super::fs_util::{FileId, is_stdin};
use super::usage_error::UsageError;

/// Links that are followed to a file that an output creates, as by Linux.
const MAX_LINKS: usize = 40;

/// Returns the long names of the options that read stdin, also if they name it `/dev/stdin`.
pub(super) fn takers_of_stdin(cli: &Cli) -> Vec<&'static str> {
    fn file(text: &str) -> Option<&Path> {
        text.strip_prefix('@').map(Path::new)
    }
    fn password(text: &str) -> Option<&Path> {
        let (user, path) = text.split_once(":@")?;
        (!user.contains(':')).then_some(Path::new(path))
    }
    let user = |user: &'_ Option<String>| user.as_deref().and_then(password).is_some_and(is_stdin);
    let is_data = |data: &str| data == "@-" || file(data).is_some_and(is_stdin);
    let is_cookie_stdin =
        |text: &str| !text.contains('=') && (text == "-" || is_stdin(Path::new(text)));
    let headers = cli.request.headers.iter().filter_map(|header| file(header));
    let takers = [
        ("config", cli.config.as_deref().is_some_and(is_stdin)),
        ("data", cli.request.data.as_deref().is_some_and(is_data)),
        (
            "cookie",
            cli.request.cookie.iter().any(|text| is_cookie_stdin(text)),
        ),
        ("user", user(&cli.request.user)),
        ("proxy-user", user(&cli.request.proxy_user)),
        (
            "netrc-file",
            cli.request.netrc_file.as_deref().is_some_and(is_stdin),
        ),
        (
            "cert",
            cli.request
                .cert
                .as_deref()
                .is_some_and(|path| is_stdin(Path::new(path))),
        ),
        ("key", cli.request.key.as_deref().is_some_and(is_stdin)),
        (
            "cacert",
            cli.request.cacert.as_deref().is_some_and(is_stdin),
        ),
        (
            "format",
            cli.format.as_deref().and_then(file).is_some_and(is_stdin),
        ),
        (
            "smtp-password-file",
            cli.notification
                .smtp_password_file
                .as_deref()
                .is_some_and(is_stdin),
        ),
    ];
    let takers = takers.into_iter().filter(|(_, takes)| *takes);
    let names = takers.map(|(name, _)| name);
    names
        .chain(headers.filter(|path| is_stdin(path)).map(|_| "header"))
        .collect()
}

/// Whether a list comes from stdin.
pub(super) fn is_stdin_list(source: &Source) -> bool {
    match source {
        Source::Stdin => true,
        Source::File(path) => is_stdin(path),
        Source::Url(_) | Source::Urls(_) => false,
    }
}

/// Checks that stdin has at most one reader: each would get only what the others left.
pub(super) fn check_stdin(takers: &[&'static str], sources: &[Source]) -> Result<(), UsageError> {
    let Some((option, others)) = takers.split_first() else {
        return Ok(());
    };
    let taken = |other, instead| {
        Err(UsageError::StdinIsTaken {
            option,
            other,
            instead,
        })
    };
    if sources.iter().any(is_stdin_list) {
        return taken("the list", "a file or a URL");
    }
    match others {
        [] => Ok(()),
        _ => taken("another option", "a file"),
    }
}

/// Rejects URLs where paths are expected: the directories created for one would be named after its
/// parts, such as a password.
pub(super) fn check_no_urls(cli: &Cli) -> Result<(), UsageError> {
    let outputs = [
        ("output-dir", &cli.saving.output_dir),
        ("pack", &cli.saving.pack),
        ("journal", &cli.saving.journal),
        ("failed", &cli.failed),
        ("report", &cli.report),
        ("summary-json", &cli.summary_json),
        ("cookie-jar", &cli.request.cookie_jar),
        ("into", &cli.cluster.into),
    ];
    for (option, path) in outputs {
        if let Some(path) = path.as_ref().filter(|path| is_url(path)) {
            let path = path.clone();
            return Err(UsageError::WritesUrl { option, path });
        }
    }
    Ok(())
}

/// Checks that no output file is also an input, or an output of something else.
pub(super) fn check_written(cli: &Cli, sources: &[Source]) -> Result<(), UsageError> {
    let written = [
        ("failed", &cli.failed),
        ("report", &cli.report),
        ("summary-json", &cli.summary_json),
        ("cookie-jar", &cli.request.cookie_jar),
    ];
    let saved = saved(cli);
    let mut seen = vec![
        ("stdout or stderr", FileId::of_stream(&io::stdout()), None),
        ("stdout or stderr", FileId::of_stream(&io::stderr()), None),
    ];
    seen.extend(saved.iter().map(|path| {
        (
            "the saved output",
            FileId::of_path(path),
            Some(place_of(path)),
        )
    }));
    let data = cli
        .request
        .data
        .as_deref()
        .and_then(|data| data.strip_prefix('@'));
    let data = data.and_then(|path| FileId::of_path(Path::new(path)));
    for (option, path) in written {
        let Some(path) = path else {
            continue;
        };
        if path.as_os_str() == "-" {
            return Err(UsageError::WritesStdout { option });
        }
        let id = FileId::of_path(path);
        let is_input = |id| data == Some(id) || sources.iter().any(|one| is_file(one, id));
        if id.is_some_and(is_input) {
            let path = path.clone();
            return Err(UsageError::WritesInput { option, path });
        }
        let place = Some(place_of(path));
        let is_same = |(_, other, taken): &&(&str, Option<FileId>, Option<PathBuf>)| {
            (id.is_some() && *other == id) || *taken == place
        };
        if let Some((by, ..)) = seen.iter().find(is_same) {
            let path = path.clone();
            return Err(UsageError::WritesOutput { option, path, by });
        }
        let name = match option {
            "failed" => "--failed",
            "report" => "--report",
            "cookie-jar" => "--cookie-jar",
            _ => "--summary-json",
        };
        seen.push((name, id, place));
    }
    Ok(())
}

/// Returns where a file is, or would be created, whatever way a path names it.
fn place_of(path: &Path) -> PathBuf {
    // Terminals and pipes may be shared.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return path.to_owned();
    }
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    match (fs::canonicalize(dir), path.file_name()) {
        (Ok(dir), Some(name)) => dir.join(name),
        _ => std::path::absolute(&path).unwrap_or(path),
    }
}

/// Checks that no input is a file that this run appends to: reading it would never end.
pub(super) fn check_saved(cli: &Cli, sources: &[Source]) -> Result<(), UsageError> {
    if cli.saving.journal.as_deref() == Some(Path::new("-")) {
        return Err(UsageError::WritesStdout { option: "journal" });
    }
    for path in saved(cli) {
        if FileId::of_path(&path).is_some_and(|id| sources.iter().any(|one| is_file(one, id))) {
            return Err(UsageError::SavedIsInput(path));
        }
    }
    Ok(())
}

/// Checks that no journal to be merged is named twice, under whatever name.
pub(super) fn check_merged(journals: &[Source]) -> Result<(), UsageError> {
    let mut seen = HashSet::new();
    let mut files = journals.iter().filter_map(|journal| match journal {
        Source::File(path) => Some((path, FileId::of_path(path)?)),
        Source::Stdin | Source::Url(_) | Source::Urls(_) => None,
    });
    match files.find(|(_, id)| !seen.insert(*id)) {
        Some((path, _)) => Err(UsageError::MergedTwice(path.clone())),
        None => Ok(()),
    }
}

/// Checks that no list of a shard is named twice. Its records would have the same input and line.
pub(super) fn check_sharded(lists: &[Source]) -> Result<(), UsageError> {
    let mut seen = HashSet::new();
    let mut files = lists.iter().filter_map(|list| match list {
        Source::File(path) => Some(path),
        Source::Stdin | Source::Url(_) | Source::Urls(_) => None,
    });
    match files.find(|path| !seen.insert(*path)) {
        Some(path) => Err(UsageError::ShardedTwice(path.clone())),
        None => Ok(()),
    }
}

/// Returns the paths of the journal, the pack and its index, as far as the options name or imply
/// them.
fn saved(cli: &Cli) -> Vec<PathBuf> {
    let journal = cli
        .saving
        .output_dir
        .as_ref()
        .map(|dir| dir.join("fetchall.jsonl"));
    let packs = cli
        .saving
        .pack
        .as_ref()
        .map(|pack| add_extension(pack, "jsonl"));
    let pack = cli.saving.pack.as_ref().filter(|_| cli.saving.cdxj);
    let index = pack.map(|pack| add_extension(pack, "cdxj"));
    [
        journal,
        cli.saving.journal.clone(),
        cli.saving.pack.clone(),
        packs,
        index,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn is_file(source: &Source, id: FileId) -> bool {
    let found = match source {
        Source::File(input) => FileId::of_path(input),
        Source::Stdin => FileId::of_stream(&io::stdin()),
        Source::Url(_) | Source::Urls(_) => None,
    };
    found == Some(id)
}
