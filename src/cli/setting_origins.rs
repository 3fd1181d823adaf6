//! Names the source of a setting that turns out to be wrong only after parsing.

use super::limit_settings::LimitSetting;
use super::masked_values::Redactions;
use super::options::{SettingEntry, SettingOrigin, SettingValue};
use super::usage_error::UsageError;

/// Options whose values are paths that are first used during the run.
const PATH_OPTIONS: [&str; 10] = [
    "cert",
    "key",
    "output_dir",
    "pack",
    "journal",
    "failed",
    "report",
    "summary_json",
    "cacert",
    "cookie_jar",
];

/// The settings that are not from the command line, and the values that messages must mask.
#[derive(Debug, Default)]
pub(crate) struct SettingOrigins {
    pub given: Vec<SettingEntry>,
    /// The limits that can change during the run.
    pub limits: Vec<LimitSetting>,
    pub redactions: Redactions,
}

impl SettingOrigins {
    fn of(&self, id: &str) -> Option<&SettingOrigin> {
        let given = self.given.iter().find(|given| given.id == id);
        given.map(|given| &given.origin)
    }

    /// Returns the error message, with the source of the value if that is not the command line.
    pub(crate) fn describe(&self, error: &UsageError) -> String {
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

    /// Returns which setting named the path that `problem` mentions, unless it was the command
    /// line.
    pub(crate) fn origin_of_path(&self, problem: &str) -> Option<String> {
        let names = |given: &&SettingEntry| match &given.value {
            SettingValue::Texts(texts) => texts
                .iter()
                .any(|text| !text.is_empty() && problem.contains(&*text.to_string_lossy())),
            _ => false,
        };
        let is_path = |given: &&SettingEntry| PATH_OPTIONS.contains(&&*given.id);
        let given = self.given.iter().filter(is_path).find(names)?;
        Some(match &given.origin {
            SettingOrigin::Variable(name) => format!("set by {name}"),
            file => format!("set by {file} ({})", given.long),
        })
    }
}
