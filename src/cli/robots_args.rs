//! The options about what sites want.

use std::time::Duration;

use clap::Args;
use fetchall::{RobotsOptions, UsageSignal};

use super::value_parsers;

/// Whether a run obeys robots.txt, and what it respects in responses.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct RobotsArgs {
    /// Obey the robots.txt of each site (RFC 9309).
    ///
    /// It is fetched once per origin before anything else there. A URL that it disallows fails (robots)
    /// and is not requested, nor is a redirect to one. If it cannot be read (5xx, cut off), all URLs
    /// of the origin fail; a 404 allows all. Its Crawl-delay is the minimum gap between requests.
    #[arg(long, help_heading = "Concurrency and rate")]
    pub robots: bool,
    /// Name in robots.txt.
    ///
    /// The product token whose groups apply (--robots), and that X-Robots-Tag may name (--respect).
    #[arg(long, value_name = "NAME", default_value = "fetchall", value_parser = RobotsOptions::parse_agent, help_heading = "Concurrency and rate")]
    pub robots_agent: String,
    /// Longest Crawl-delay obeyed.
    ///
    /// With --robots. A longer one counts as this.
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = value_parsers::duration, help_heading = "Concurrency and rate")]
    pub crawl_delay_max: Duration,
    /// Fail responses marked noai, noindex, tdm.
    ///
    /// LIST is comma-separated. Such a response fails (robots), and its body is not kept. noai:
    /// X-Robots-Tag noai or noimageai, Content-Usage train-ai=n. noindex: X-Robots-Tag noindex,
    /// noimageindex or none, Content-Usage search=n. tdm: TDM-Reservation 1.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        help_heading = "Concurrency and rate"
    )]
    pub respect: Vec<UsageSignal>,
}

impl RobotsArgs {
    /// Returns how robots.txt is obeyed, if it is.
    pub(crate) fn options(&self) -> Option<RobotsOptions> {
        self.robots.then(|| {
            let mut options = RobotsOptions::default();
            options.agent.clone_from(&self.robots_agent);
            options.crawl_delay_max = self.crawl_delay_max;
            options
        })
    }
}
