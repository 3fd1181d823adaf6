//! The options of runs that are tasks of a cluster job.

use clap::Args;

/// How a run behaves as one of many tasks.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ClusterArgs {
    /// Exit 0 although URLs failed.
    ///
    /// As long as every line has its record; 1 then means that some were left. For engines such as
    /// Spark, Kubernetes and AWS Batch, which run a task again after any other exit code. The other
    /// codes stay.
    #[arg(long, conflicts_with = "verify", help_heading = "Many machines")]
    pub failures_ok: bool,
}
