//! Sections of a config file for single hosts: `[host."data.example.org"]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, Command};
use fetchall::program::{ClientCertificate, Config, HostLimit, HostRequestOptions, similar_name};
use http::{HeaderMap, header};

use super::options::{SettingEntry, SettingError, SettingValue, long};
use super::{secrets, value_parsers};

/// The key of the sections in a config file.
pub(super) const HOST_KEY: &str = "host";

/// The options that a section may set.
const HOST_OPTIONS: [&str; 8] = [
    "cert",
    "header",
    "host-interval",
    "host-limit-rate",
    "key",
    "per-host",
    "retries",
    "user",
];

/// The settings of one host.
#[derive(Debug, Clone)]
pub(crate) struct HostSection {
    /// The host as in a URL.
    pub host: String,
    pub settings: Vec<SettingEntry>,
}

/// Returns the option that a key of a section sets.
pub(super) fn option<'c>(key: &str, command: &'c Command) -> Result<&'c Arg, String> {
    let found = command.get_arguments().find(|arg| long(arg) == key);
    if let Some(arg) = found.filter(|_| HOST_OPTIONS.contains(&key)) {
        return Ok(arg);
    }
    if key.contains('.') {
        return Err("a host with dots is quoted: [host.\"data.example.org\"]".to_owned());
    }
    let all = HOST_OPTIONS.join(", ");
    Err(match similar_name(key, HOST_OPTIONS) {
        _ if found.is_some() => format!("not an option of single hosts; those are {all}"),
        Some(meant) => format!("unknown option of a host; did you mean {meant}?"),
        None => format!("unknown option of a host; expected one of {all}"),
    })
}

/// Merges the sections of several files, which are in order of precedence: of the settings of one
/// host under the same key, the first counts.
pub(super) fn merge(files: impl IntoIterator<Item = Vec<HostSection>>) -> Vec<HostSection> {
    let mut hosts: BTreeMap<String, Vec<SettingEntry>> = BTreeMap::new();
    for HostSection { host, settings } in files.into_iter().flatten() {
        let known = hosts.entry(host).or_default();
        for setting in settings {
            if known.iter().all(|known| known.id != setting.id) {
                known.push(setting);
            }
        }
    }
    let section = |(host, settings)| HostSection { host, settings };
    hosts.into_iter().map(section).collect()
}

/// Applies the sections to the configuration of a run.
///
/// # Errors
/// The first invalid value, with its line. It does not repeat secrets.
pub(super) fn apply(sections: &[HostSection], config: &mut Config) -> Result<(), SettingError> {
    let mut limits = std::collections::HashMap::new();
    for section in sections {
        let (mut request, mut limit) = (HostRequestOptions::default(), HostLimit::default());
        let mut files = CertificateFiles::default();
        for setting in &section.settings {
            for text in texts(setting) {
                set(&setting.long, &text, &mut request, &mut limit, &mut files)
                    .map_err(|message| setting.origin.error(&setting.long, message))?;
            }
        }
        request.certificate = files.certificate(section)?;
        config.http.hosts.insert(section.host.clone(), request);
        limits.insert(section.host.clone(), limit);
    }
    config.schedule.hosts = Arc::new(limits);
    config.retry.hosts = Arc::clone(&config.schedule.hosts);
    Ok(())
}

fn texts(setting: &SettingEntry) -> Vec<String> {
    match &setting.value {
        SettingValue::Texts(texts) => texts
            .iter()
            .map(|text| text.to_string_lossy().into_owned())
            .collect(),
        _ => Vec::new(),
    }
}

#[derive(Default)]
struct CertificateFiles {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl CertificateFiles {
    fn certificate(self, section: &HostSection) -> Result<Option<ClientCertificate>, SettingError> {
        let Self { cert, key } = self;
        let is_key = |setting: &&SettingEntry| setting.long == "key";
        match (cert, section.settings.iter().find(is_key)) {
            (None, Some(setting)) => Err(setting
                .origin
                .error("key", "requires cert in the same section")),
            (cert, _) => Ok(cert.map(|cert| ClientCertificate { cert, key })),
        }
    }
}

fn set(
    option: &str,
    text: &str,
    request: &mut HostRequestOptions,
    limit: &mut HostLimit,
    files: &mut CertificateFiles,
) -> Result<(), String> {
    match option {
        "header" => add_headers(&mut request.headers, text)?,
        "user" => request.user = Some(secrets::credentials(text)?),
        "cert" => files.cert = Some(secrets::certificate(text)?),
        "key" => files.key = Some(text.into()),
        "per-host" => limit.per_host = Some(value_parsers::per_host(text)?),
        "host-interval" => limit.host_interval = Some(value_parsers::duration(text)?),
        "host-limit-rate" => limit.limit_rate = Some(value_parsers::byte_rate(text)?),
        _ => limit.retries = Some(value_parsers::parse_integer(text)?),
    }
    Ok(())
}

fn add_headers(headers: &mut HeaderMap, text: &str) -> Result<(), String> {
    for (name, value) in secrets::headers(text)? {
        match name {
            header::COOKIE => {
                return Err(
                    "cookie: not possible for one host; -b FILE sends cookies by host".to_owned(),
                );
            }
            header::RANGE => return Err("range: not possible for one host".to_owned()),
            name => headers.append(name, value),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Cli, config_file};
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn of_two_files_the_first_that_has_a_key_sets_it() {
        let mut command = Cli::command();
        command.build();
        let read = |name: &str, text: &str| {
            let file = config_file::parse(text, Path::new(name), &command);
            file.unwrap().hosts
        };
        let own = read("/own", "[host.\"A.test\"]\nretries = 1\n");
        let machine = "[host.\"a.test\"]\nretries = 2\nper-host = 3\n[host.b]\nretries = 4\n";
        let merged = merge([own, read("/machine", machine)]);
        let shown = |section: &HostSection| {
            let settings = section.settings.iter();
            let settings = settings.map(|one| format!("{} {}", one.long, one.origin));
            (section.host.clone(), settings.collect::<Vec<_>>())
        };
        let shown: Vec<_> = merged.iter().map(shown).collect();
        let a = ["retries /own:2", "per-host /machine:3"].map(str::to_owned);
        let b = ["retries /machine:5"].map(str::to_owned);
        assert_eq!(
            shown,
            [("a.test".into(), a.to_vec()), ("b".into(), b.to_vec())]
        );
    }
}
