//! Where a value came from that turns out to be wrong only later.

use std::collections::BTreeMap;

use super::convert::UsageError;
use super::options::Origin;

/// Where the values of options come from that do not stand on the command line.
#[derive(Debug, Default)]
pub struct Origins(pub BTreeMap<String, Origin>);

impl Origins {
    /// The error, with the place of the value if that is not the command line.
    pub fn name(&self, error: &UsageError) -> String {
        let text = error.to_string();
        let Some((origin, long)) = error
            .option()
            .and_then(|(id, long)| Some((self.0.get(id)?, long)))
        else {
            return text;
        };
        let message = text
            .strip_prefix("--")
            .and_then(|text| text.strip_prefix(long))
            .map_or(text.as_str(), |text| text.trim_start_matches([':', ' ']));
        origin.error(long, message).to_string()
    }
}
