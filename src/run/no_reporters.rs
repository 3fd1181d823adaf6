//! What `reporters` is to the library alone, which has no outputs but its callback.

use std::sync::Arc;

use crate::config::ReportOptions;
use crate::engine::Shutdown;
use crate::model::LiveStats;
use crate::report::{Pump, ReportError};

pub struct RunDisplay;

impl RunDisplay {
    pub fn start(_: &ReportOptions, _: &Arc<LiveStats>) -> Self {
        Self
    }

    pub fn stop(self) {}
}

pub fn add_notices(_: &mut Pump, _: &mut ReportOptions, warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

pub fn add_files(_: &mut Pump, _: &ReportOptions, _: &Shutdown) -> Result<(), ReportError> {
    Ok(())
}

pub fn add_streams(_: &mut Pump, _: &mut ReportOptions) {}
