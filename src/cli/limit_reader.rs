//! Reads the limits again while the run goes on: the answer to SIGUSR2.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use fetchall::program::{Config, HostLimits, LimitUpdate, Screen};
use tokio::sync::mpsc;

use super::convert::set_limits;
use super::fd_limit::bound_by_descriptors;
use super::limit_settings::{LimitSetting, describe};
use super::{CliError, host_sections, parse, redact};

/// Reads the limits of a run again.
#[derive(Debug, Clone)]
pub(crate) struct LimitReader {
    args: Arc<[OsString]>,
    updates: mpsc::UnboundedSender<LimitUpdate>,
    /// The limits as they are now.
    current: Arc<Mutex<CurrentLimits>>,
}

#[derive(Debug)]
struct CurrentLimits {
    settings: Vec<LimitSetting>,
    hosts: Arc<HostLimits>,
}

impl LimitReader {
    /// Creates the reader for a run with this command line. `settings` are the limits it begins with;
    /// the run gets others from `config`.
    pub(crate) fn new(
        args: impl Iterator<Item = OsString>,
        settings: Vec<LimitSetting>,
        config: &mut Config,
    ) -> Self {
        let (updates, receiver) = mpsc::unbounded_channel();
        config.limit_updates = Some(receiver);
        let hosts = Arc::clone(&config.schedule.hosts);
        Self {
            args: args.collect(),
            updates,
            current: Arc::new(Mutex::new(CurrentLimits { settings, hosts })),
        }
    }

    /// Reads the limits again, and says on stderr what has changed, also with `-q`: it was asked for.
    pub(crate) fn read_again(&self, screen: &Screen) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match self.update(&mut current) {
            Ok(text) => format!("limits read again: {text}"),
            Err(error) => format!("limits not changed: {error}"),
        };
        // Ignored if stderr is closed.
        let _ = screen.suspend(|| writeln!(io::stderr(), "fetchall: {}", redact::message(&text)));
    }

    fn update(&self, current: &mut CurrentLimits) -> Result<String, CliError> {
        let (cli, settings) = parse::read_again(&self.args)?;
        let mut config = Config::default();
        set_limits(&mut config, &cli);
        host_sections::apply(&cli.hosts, &mut config)?;
        let mut texts = describe(&current.settings, &settings);
        if config.schedule.hosts != current.hosts {
            texts.push("those of single hosts have changed".to_owned());
        }
        if let Some(most) = bound_by_descriptors(&mut config.engine.concurrency) {
            texts.push(format!(
                "the open-file limit allows {most} concurrent requests"
            ));
        }
        current.settings = settings;
        current.hosts = Arc::clone(&config.schedule.hosts);
        let update = LimitUpdate {
            concurrency: config.engine.concurrency,
            schedule: config.schedule,
        };
        Ok(match (self.updates.send(update), texts.is_empty()) {
            (Err(_), _) => "nothing is being fetched".to_owned(),
            (Ok(()), true) => "none has changed".to_owned(),
            (Ok(()), false) => texts.join("; "),
        })
    }
}
