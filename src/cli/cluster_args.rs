//! The options of runs that share a list with others, or are tasks of a cluster job.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use fetchall::program::SplitOptions;
use fetchall::{Shard, ShardBy};

use super::usage_error::UsageError;

/// Maximum number of shards.
const MAX_SHARDS: u32 = 100_000;
/// Variables in which cluster engines give the number of a task, from 0.
const TASK_VARIABLES: [&str; 4] = [
    "JOB_COMPLETION_INDEX",
    "SLURM_ARRAY_TASK_ID",
    "AWS_BATCH_JOB_ARRAY_INDEX",
    "CLOUD_RUN_TASK_INDEX",
];

/// How a run behaves as one of many tasks.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ClusterArgs {
    /// Fetch one shard of the list: 3/64, auto/64.
    ///
    /// I/N is shard I, from 0, of N: all URLs of some hosts, chosen by a hash of the host name. A line
    /// that is not a URL belongs to a shard by its text. auto takes I from JOB_COMPLETION_INDEX
    /// (Kubernetes), SLURM_ARRAY_TASK_ID, AWS_BATCH_JOB_ARRAY_INDEX or CLOUD_RUN_TASK_INDEX. The
    /// journal notes the shard, and a run of another one cannot use it. --dry-run prints how large
    /// the shards are.
    #[arg(long, value_name = "I/N", help_heading = "Many machines")]
    pub shard: Option<ShardArg>,
    /// Divide the list by host or by url.
    ///
    /// By url, the URLs of a host are in all shards, and limits per host hold within each of them only.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "host",
        requires = "dividing",
        help_heading = "Many machines"
    )]
    pub shard_by: ShardByArg,
    /// Write the list as N lists, one for each shard.
    ///
    /// Nothing is fetched. The DIR of --into gets one file per shard: part-00000.txt and so on, in
    /// the format and the compression of the list, and split.json with their sizes and the largest
    /// hosts.
    #[arg(
        long,
        value_name = "N",
        value_parser = shards,
        requires = "into",
        conflicts_with_all = ["shard", "saving", "journal", "results_as", "verify", "dry_run", "demo", "failed", "report", "timeline", "summary_json", "cookie_jar"],
        help_heading = "Many machines"
    )]
    pub split: Option<NonZeroU32>,
    /// Directory for the lists of --split.
    ///
    /// One that has such lists already is refused.
    #[arg(
        long,
        value_name = "DIR",
        requires = "split",
        help_heading = "Many machines"
    )]
    pub into: Option<PathBuf>,
    /// Put the journals of shards together.
    ///
    /// INPUT names the journals of all shards. Prints the newest record of each line, and says,
    /// with exit code 1, if a shard or a line is missing or is there twice. The summary is that of
    /// the whole list.
    #[arg(
        long,
        conflicts_with_all = ["shard", "split", "saving", "journal", "csv", "format", "verify", "dry_run", "demo", "failed", "report", "timeline", "cookie_jar"],
        help_heading = "Many machines"
    )]
    pub merge: bool,
    /// Exit 0 although URLs failed.
    ///
    /// As long as every line has its record; 1 then means that some were left. For engines such as
    /// Spark, Kubernetes and AWS Batch, which run a task again after any other exit code. The other
    /// codes stay.
    #[arg(long, conflicts_with = "verify", help_heading = "Many machines")]
    pub failures_ok: bool,
}

impl ClusterArgs {
    /// Returns the shard of the run.
    pub(super) fn shard(&self) -> Result<Option<Shard>, UsageError> {
        let variable = |name: &str| std::env::var(name).ok();
        let shard = |arg: &ShardArg| arg.resolve(self.shard_by.into(), variable);
        let resolved = self.shard.as_ref().map(shard).transpose();
        resolved.map_err(UsageError::Shard)
    }

    /// Returns how the list is to be split, if it is.
    pub(crate) fn split(&self) -> Option<SplitOptions> {
        Some(SplitOptions {
            parts: self.split?,
            by: self.shard_by.into(),
            dir: self.into.clone()?,
        })
    }
}

/// What decides to which shard a URL belongs: `--shard-by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShardByArg {
    /// The host name: all URLs of a host are in one shard.
    Host,
    /// The whole URL.
    Url,
}

impl From<ShardByArg> for ShardBy {
    fn from(by: ShardByArg) -> Self {
        match by {
            ShardByArg::Host => Self::Host,
            ShardByArg::Url => Self::Url,
        }
    }
}

/// A shard: `--shard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShardArg {
    /// Its number, from 0; `None`: that of the task.
    index: Option<u32>,
    of: NonZeroU32,
}

impl FromStr for ShardArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (index, of) = text
            .split_once('/')
            .ok_or("expected I/N, such as 0/4, or auto/N")?;
        let of = shards(of)?;
        let index = match index {
            "auto" => None,
            index => Some(
                index
                    .parse()
                    .map_err(|_| "expected I/N with numbers, or auto/N")?,
            ),
        };
        match index {
            Some(index) if index >= of.get() => Err(beyond(of)),
            index => Ok(Self { index, of }),
        }
    }
}

/// Parses a number of shards.
pub(super) fn shards(text: &str) -> Result<NonZeroU32, String> {
    let shards = text.parse::<NonZeroU32>().ok();
    shards
        .filter(|shards| shards.get() <= MAX_SHARDS)
        .ok_or_else(|| format!("expected a number of shards from 1 to {MAX_SHARDS}"))
}

fn beyond(of: NonZeroU32) -> String {
    let last = of.get() - 1;
    format!("shards are counted from 0: the last of {of} is {last}/{of}")
}

impl ShardArg {
    /// Returns the shard; its number may be in a `variable` of the environment.
    fn resolve(
        self,
        by: ShardBy,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Shard, String> {
        let Self { index, of } = self;
        if let Some(index) = index {
            return Shard::new(index, of, by).ok_or_else(|| beyond(of));
        }
        let set = TASK_VARIABLES.iter().filter_map(|name| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some((*name, value))
        });
        let set: Vec<_> = set.collect();
        let Some((name, value)) = set.first() else {
            let names = TASK_VARIABLES.join(", ");
            return Err(format!("auto: none of these variables is set: {names}"));
        };
        let shown = |(name, value): &(&str, String)| format!("{name}={}", value.escape_debug());
        if set.iter().any(|(_, other)| other != value) {
            let all: Vec<_> = set.iter().map(shown).collect();
            return Err(format!(
                "auto: these variables differ: {}; give the number instead",
                all.join(", ")
            ));
        }
        let shown = shown(&(name, value.clone()));
        let index = value
            .parse()
            .map_err(|_| format!("auto: {shown} is not a number from 0"))?;
        Shard::new(index, of, by).ok_or_else(|| format!("auto: {shown}, but {}", beyond(of)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            let mut all = variables.iter();
            all.find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let shard = text.parse::<ShardArg>()?.resolve(ShardBy::Host, variable)?;
        Ok(shard.to_string())
    }

    #[test]
    fn the_number_is_given_or_that_of_the_task() {
        assert_eq!(resolve("3/64", &[]).as_deref(), Ok("3/64"));
        for name in TASK_VARIABLES {
            let set = [(name, "7"), ("TMPDIR", "/tmp")];
            assert_eq!(resolve("auto/8", &set).as_deref(), Ok("7/8"));
        }
        let two = [("SLURM_ARRAY_TASK_ID", "1"), ("CLOUD_RUN_TASK_INDEX", "1")];
        assert_eq!(resolve("auto/2", &two).as_deref(), Ok("1/2"));
        let empty = [("SLURM_ARRAY_TASK_ID", "1"), ("JOB_COMPLETION_INDEX", "")];
        assert_eq!(resolve("auto/2", &empty).as_deref(), Ok("1/2"));
    }

    #[test]
    fn what_is_no_shard_is_told() {
        let two = [("SLURM_ARRAY_TASK_ID", "1"), ("CLOUD_RUN_TASK_INDEX", "2")];
        let mut page = Vec::new();
        for text in ["3/3", "4", "a/4", "1/0", "-1/4", "1/100001", "1/", "/4"] {
            page.push((text, resolve(text, &[])));
        }
        page.push(("auto/4", resolve("auto/4", &[])));
        page.push(("auto/4", resolve("auto/4", &two)));
        page.push((
            "auto/4",
            resolve("auto/4", &[("JOB_COMPLETION_INDEX", "4")]),
        ));
        page.push((
            "auto/4",
            resolve("auto/4", &[("JOB_COMPLETION_INDEX", "x\n")]),
        ));
        let page = page
            .into_iter()
            .map(|(text, resolved)| format!("{text}\n{}", resolved.unwrap_err()));
        insta::assert_snapshot!("no_shard", page.collect::<Vec<_>>().join("\n\n"));
    }
}
