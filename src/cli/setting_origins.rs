//! Where a value came from that turns out to be wrong only later.

use super::convert::UsageError;
use super::options::{SettingEntry, SettingOrigin, SettingValue};
use super::redact::Redactions;

/// Options whose values are places that only the run finds out about.
const PLACES: [&str; 5] = ["output_dir", "pack", "journal", "failed", "cacert"];

/// The settings that do not stand on the command line, and what may not be shown of any.
#[derive(Debug, Default)]
pub struct SettingOrigins {
    pub given: Vec<SettingEntry>,
    pub redactions: Redactions,
}

impl SettingOrigins {
    fn of(&self, id: &str) -> Option<&SettingOrigin> {
        let given = self.given.iter().find(|given| given.id == id);
        given.map(|given| &given.origin)
    }

    /// The error, with the place of the value if that is not the command line.
    pub fn describe(&self, error: &UsageError) -> String {
        let text = error.to_string();
        let Some((origin, long)) = error
            .option()
            .and_then(|(id, long)| Some((self.of(id)?, long)))
        else {
            return self.redactions.apply(text);
        };
        let message = text
            .strip_prefix("--")
            .and_then(|text| text.strip_prefix(long))
            .map_or(text.as_str(), |text| text.trim_start_matches([':', ' ']));
        self.redactions
            .apply(origin.error(long, message).to_string())
    }

    /// Who set the place that a problem of the run speaks of, if not the command line.
    pub fn origin_of_path(&self, problem: &str) -> Option<String> {
        let names = |given: &&SettingEntry| match &given.value {
            SettingValue::Texts(texts) => texts
                .iter()
                .any(|text| !text.is_empty() && problem.contains(&*text.to_string_lossy())),
            _ => false,
        };
        let mut places = self.given.iter().filter(|one| PLACES.contains(&&*one.id));
        let given = places.find(names)?;
        Some(match &given.origin {
            SettingOrigin::Variable(name) => format!("{name} says so"),
            file => format!("{file} says so ({})", given.long),
        })
    }
}
