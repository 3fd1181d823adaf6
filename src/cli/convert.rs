//! Builds the [`Config`] of the library from the command line.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use clap::CommandFactory as _;
use fetchall::program::{
    ClientCertificate, Config, CookieJar, Credentials, PackCommand, ProgressStyle, ReportOptions,
    ResultFormat, SaveOptions, Screen, Source, Template, TemplateError, is_kept,
};
use fetchall::{
    AddressFamily, DefaultScheme, FaultPlan, HashAlgorithm, HttpVersion, InputFormat, LocalEnd,
    Proxy, RetryRules,
};
use http::{HeaderMap, HeaderValue, Method, header};

use super::arg_values::{InputFormatArg, ProgressArg, SchemeArg, YesNoArg};
use super::config_paths::check_output_dir;
use super::fs_util::{is_only_for_writing, read_text};
use super::pack_names::{check_format, pack_name};
use super::path_conflicts::{
    self, check_merged, check_no_urls, check_saved, check_sharded, check_stdin, check_written,
    takers_of_stdin,
};
use super::redact::RedactingWriter;
use super::secrets::CookieSource;
use super::usage_error::UsageError;
use super::wording::{end_text, error_text};
use super::{
    Cli, environment, host_sections, input_hints, redact, secrets, terminal, value_parsers,
};

/// Default of `--max-size` with `--body`, in bytes.
const DEFAULT_MAX_BODY_BYTES: u64 = 8 << 20;

impl TryFrom<Cli> for Config {
    type Error = UsageError;

    fn try_from(mut cli: Cli) -> Result<Self, UsageError> {
        let mut config = Config::default();
        config.input.sources = sources(&cli)?;
        config.input.format = if cli.null {
            InputFormat::Nul
        } else {
            format(cli.input_format)
        };
        config.input.base_url = cli.base_url.take();
        config.input.scheme = cli.scheme.map(|scheme| match scheme {
            SchemeArg::Http => DefaultScheme::Http,
            SchemeArg::Https => DefaultScheme::Https,
        });
        config.input.url_column = cli.url_column.clone();
        check_kept(&cli.keep_columns)?;
        check_format(&cli)?;
        keep_caption(&mut cli);
        config.input.keep_columns = cli.keep_columns.clone();
        config.input.shard = cli.cluster.shard()?;
        if config.input.base_url.is_some() && config.input.format != InputFormat::Manifest {
            return Err(UsageError::UnusedBaseUrl);
        }
        check_no_urls(&cli)?;
        check_written(&cli, &config.input.sources)?;
        check_saved(&cli, &config.input.sources)?;
        if config.input.shard.is_some() {
            check_sharded(&config.input.sources)?;
        }
        cli.saving
            .output_dir
            .as_deref()
            .map_or(Ok(()), check_output_dir)?;
        set_limits(&mut config, &cli);
        config.retry.rules = retry_rules(&cli)?;
        config.http.body = cli.request.data.as_deref().map(read_data).transpose()?;
        set_request(&mut config, &mut cli)?;
        host_sections::apply(&cli.hosts, &mut config)?;
        config.faults = faults(&cli)?;
        config.save = save(&mut cli)?;
        config.report = report(&cli)?;
        name_printed_columns(&mut config);
        set_cookies(&mut config, &mut cli)?;
        Ok(config)
    }
}

fn sources(cli: &Cli) -> Result<Vec<Source>, UsageError> {
    if cli.demo {
        // The practice server sets them once it runs.
        return Ok(Vec::new());
    }
    if cli.saving.verify && cli.inputs.is_empty() {
        return Ok(Vec::new());
    }
    let is_no_file = |input: &OsString| !is_file(input);
    if cli.cluster.merge && (cli.inputs.is_empty() || cli.inputs.iter().any(is_no_file)) {
        return Err(UsageError::NoJournals);
    }
    if cli.inputs.is_empty() && io::stdin().is_terminal() {
        return Err(UsageError::NoInput);
    }
    let spec_is_missing = cli.simulate_failure == Some(None);
    let mistake = |input: &OsString| input_hints::of(input, spec_is_missing);
    if let Some(mistake) = cli.inputs.iter().find_map(mistake) {
        return Err(UsageError::Input(mistake));
    }
    let mut sources: Vec<_> = cli.inputs.iter().map(|input| source(input)).collect();
    if sources.is_empty() {
        sources.push(Source::Stdin);
    }
    let stdins = sources
        .iter()
        .filter(|one| path_conflicts::is_stdin_list(one))
        .count();
    if stdins > 1 {
        return Err(UsageError::StdinTwice);
    }
    if cli.cluster.merge {
        check_merged(&sources)?;
    }
    if cli.cluster.split.is_some() && sources.iter().any(|one| matches!(one, Source::Url(_))) {
        return Err(UsageError::SplitsUrl);
    }
    let takers = takers_of_stdin(cli);
    check_stdin(&takers, &sources)?;
    if (stdins > 0 || takers.contains(&"data")) && is_only_for_writing(&io::stdin()) {
        return Err(UsageError::StdinForWriting);
    }
    Ok(sources)
}

/// Whether an input is a file.
pub(super) fn is_file(input: &OsStr) -> bool {
    matches!(source(input), Source::File(_))
}

/// Whether an input is a list on stdin.
pub(super) fn is_stdin_list(input: &OsStr) -> bool {
    path_conflicts::is_stdin_list(&source(input))
}

fn source(input: &OsStr) -> Source {
    match input.to_str() {
        Some("-") => Source::Stdin,
        Some(url) if url.contains("://") => Source::Url(url.to_owned()),
        // File names need not be UTF-8.
        _ => Source::File(input.into()),
    }
}

fn format(format: InputFormatArg) -> InputFormat {
    match format {
        InputFormatArg::Auto => InputFormat::Auto,
        InputFormatArg::Text => InputFormat::Text,
        InputFormatArg::Jsonl => InputFormat::JsonLines,
        InputFormatArg::Csv => InputFormat::Csv,
        InputFormatArg::Tsv => InputFormat::Tsv,
        InputFormatArg::Sitemap => InputFormat::Sitemap,
        InputFormatArg::Sha256sums => InputFormat::Manifest,
    }
}

/// Maximum size of a request body, which is kept in memory.
const MAX_DATA_BYTES: u64 = 256 << 20;

fn within(body: Vec<u8>) -> io::Result<Bytes> {
    if body.len() as u64 > MAX_DATA_BYTES {
        return Err(io::Error::other("larger than 256 MiB"));
    }
    Ok(body.into())
}

fn read_data(data: &str) -> Result<Bytes, UsageError> {
    let failed = |cause| UsageError::Data {
        name: data.to_owned(),
        cause,
    };
    match data.strip_prefix('@') {
        None => Ok(Bytes::copy_from_slice(data.as_bytes())),
        Some("-") => {
            let mut body = Vec::new();
            io::stdin()
                .take(MAX_DATA_BYTES + 1)
                .read_to_end(&mut body)
                .and_then(|_| within(body))
                .map_err(failed)
        }
        Some(path) => {
            let mut body = Vec::new();
            std::fs::File::open(path)
                .and_then(|file| file.take(MAX_DATA_BYTES + 1).read_to_end(&mut body))
                .and_then(|_| within(body))
                .map_err(failed)
        }
    }
}

pub(super) fn set_limits(config: &mut Config, cli: &Cli) {
    config.schedule.per_host = cli.per_host;
    config.schedule.host_interval = cli.host_interval;
    config.schedule.rate = cli.rate;
    config.schedule.limit_rate = cli.limit_rate;
    config.schedule.host_limit_rate = cli.host_limit_rate;
    config.schedule.robots = cli.robots.options();
    config.schedule.look_ahead = cli.look_ahead;
    let retry = &mut config.retry;
    retry.retries = cli.retries;
    retry.delay = cli.retry_delay;
    retry.max_delay = cli.retry_max_delay;
    retry.retry_after_max = cli.retry_after_max;
    retry.max_wait = cli.max_wait;
    let engine = &mut config.engine;
    engine.concurrency = cli.concurrency;
    engine.threads = cli.threads.number(cli.concurrency);
    engine.stall_timeout = Some(cli.stall_timeout).filter(|limit| !limit.is_zero());
    engine.error_text = error_text;
    engine.max_time = cli.max_time.filter(|limit| !limit.is_zero());
    engine.max_redirects = cli.max_redirects;
    engine.seed = cli.seed;
    engine.respect.clone_from(&cli.robots.respect);
    engine.robots_agent.clone_from(&cli.robots.robots_agent);
    engine.hashes = cli.saving.hash.clone();
    engine.segments.most = cli.saving.segments;
    if cli.saving.sha256 {
        engine.hashes.push(HashAlgorithm::Sha256);
    }
    engine.expected_types = cli.saving.expect_type.clone();
    engine.stop_after = cli.stop_after;
    engine.max_failures = cli.max_failures;
    engine.raw = cli.request.raw;
    match cli.max_size {
        Some(limit) => engine.max_size = limit,
        None if cli.body => engine.max_size = DEFAULT_MAX_BODY_BYTES,
        None => {}
    }
    config.http.connect_timeout = cli.connect_timeout;
}

fn retry_rules(cli: &Cli) -> Result<RetryRules, UsageError> {
    let parse = |list: &String| {
        list.parse::<RetryRules>()
            .map_err(|error| not_shown("--retry-on", list).unwrap_or(UsageError::RetryOn(error)))
    };
    let lists = cli.retry_on.iter().map(parse);
    lists
        .reduce(|one, other| Ok(one?.followed_by(other?)))
        .unwrap_or_else(|| Ok(RetryRules::default()))
}

/// Returns the error for an invalid value that must not be repeated, if it seems to hold a
/// password.
fn not_shown(option: &'static str, value: &str) -> Option<UsageError> {
    redact::has_userinfo(value).then(|| UsageError::Secret {
        option,
        message: "invalid value (not shown: it seems to contain a password)".to_owned(),
    })
}

fn set_request(config: &mut Config, cli: &mut Cli) -> Result<(), UsageError> {
    config.engine.method = match cli.request.method.take() {
        Some(method) => method,
        None if cli.request.head => Method::HEAD,
        None if config.http.body.is_some() => Method::POST,
        None => Method::GET,
    };
    let http = &mut config.http;
    for header in &cli.request.headers {
        for (name, value) in secrets::headers(header).map_err(secret("--header"))? {
            http.headers.append(name, value);
        }
    }
    if http.body.is_some() {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        http.headers.entry(header::CONTENT_TYPE).or_insert(form);
    }
    if let Some(name) = cli.request.user_agent.take() {
        http.user_agent = name;
    }
    http.user = user(cli)?;
    if let Some(path) = secrets::netrc_path(cli.request.netrc_file.as_deref(), cli.request.netrc) {
        let netrc = secrets::netrc(&path).map_err(secret("--netrc"))?;
        http.netrc = Some(Arc::new(netrc));
    }
    http.proxy = proxy(cli)?;
    http.insecure = cli.request.insecure;
    http.cacert = cli.request.cacert.take();
    http.certificate = certificate(cli)?;
    http.resolve = std::mem::take(&mut cli.request.resolve);
    http.family = match (cli.request.ipv4, cli.request.ipv6) {
        (true, _) => Some(AddressFamily::V4),
        (_, true) => Some(AddressFamily::V6),
        _ => None,
    };
    http.local_end = cli.request.interface.as_deref().map(LocalEnd::parse);
    http.deny_private = cli.request.deny_private;
    http.compression = !cli.request.no_compression;
    http.version = match (cli.request.http1, cli.request.http2_prior_knowledge) {
        (true, _) => HttpVersion::Http1,
        (_, true) => HttpVersion::Http2PriorKnowledge,
        _ => HttpVersion::Auto,
    };
    Ok(())
}

/// Sets the cookies of `-b`, and the jar that a file of cookies or `-c` asks for.
fn set_cookies(config: &mut Config, cli: &mut Cli) -> Result<(), UsageError> {
    let mut files = Vec::new();
    for text in &cli.request.cookie {
        match secrets::cookies(text).map_err(secret("--cookie"))? {
            CookieSource::Pairs(pairs) => {
                add_cookies(&mut config.http.headers, &pairs);
                warn(config, secrets::named_like_a_file(text));
            }
            CookieSource::File(path) => files.push(path),
        }
    }
    let target = cli.request.cookie_jar.take();
    if let Some(number) = target.as_ref().filter(|path| is_number(path)) {
        let number = number.display();
        return Err(secret("--cookie-jar")(format!(
            "{number} is no file name; -j {number} sets the concurrent requests (for a file of that name: \
             ./{number})"
        )));
    }
    if files.is_empty() && target.is_none() {
        return Ok(());
    }
    let jar = Arc::new(CookieJar::default());
    for path in files {
        let may_be_absent = target.as_ref() == Some(&path);
        let read = secrets::read_cookies(&path, &jar, may_be_absent);
        warn(config, read.map_err(secret("--cookie"))?.as_deref());
    }
    config.report.cookie_jar = target.map(|path| (path, Arc::clone(&jar)));
    config.engine.jar = Some(jar);
    Ok(())
}

/// Prints a warning where those of the run go.
fn warn(config: &mut Config, warning: Option<&str>) {
    if let (Some(text), Some(stream)) = (warning, &mut config.report.notices) {
        // Ignored if stderr is closed.
        let _ = writeln!(stream, "fetchall: warning: {text}");
    }
}

/// Whether a path is only a number, which other programs take after `-c`.
fn is_number(path: &Path) -> bool {
    let text = path.to_string_lossy();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Adds cookies to the `Cookie` header, of which a request has at most one (RFC 6265 §5.4).
fn add_cookies(headers: &mut HeaderMap, pairs: &HeaderValue) {
    let given = headers.get_all(header::COOKIE).iter().chain([pairs]);
    let all: Vec<&[u8]> = given.map(HeaderValue::as_bytes).collect();
    // Never fails: all of it comes from header values.
    if let Ok(mut value) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        value.set_sensitive(true);
        headers.insert(header::COOKIE, value);
    }
}

fn user(cli: &Cli) -> Result<Option<Credentials>, UsageError> {
    match &cli.request.user {
        Some(text) => secrets::credentials(text)
            .map(Some)
            .map_err(secret("--user")),
        None => secrets::from_environment(std::env::var_os(secrets::USER_VARIABLE))
            .map_err(secret(secrets::USER_VARIABLE)),
    }
}

fn certificate(cli: &Cli) -> Result<Option<ClientCertificate>, UsageError> {
    let Some(text) = &cli.request.cert else {
        return Ok(None);
    };
    let cert = secrets::certificate(text).map_err(secret("--cert"))?;
    let key = cli.request.key.clone();
    Ok(Some(ClientCertificate { cert, key }))
}

fn proxy(cli: &Cli) -> Result<Proxy, UsageError> {
    let Some(text) = &cli.request.proxy else {
        return Ok(Proxy::Environment);
    };
    let proxy = value_parsers::proxy(text).map_err(secret("--proxy"))?;
    let user = cli.request.proxy_user.as_deref().map(secrets::credentials);
    let user = user.transpose().map_err(secret("--proxy-user"))?;
    Ok(match (proxy, user) {
        (Proxy::Url(url), Some(user)) => Proxy::Url(url.with_credentials(&user)),
        (proxy, _) => proxy,
    })
}

/// Turns a message into the error of an option whose value may be a secret.
fn secret(option: &'static str) -> impl FnOnce(String) -> UsageError {
    move |message| UsageError::Secret { option, message }
}

fn faults(cli: &Cli) -> Result<Option<FaultPlan>, UsageError> {
    let seed = cli.seed.unwrap_or(0);
    match &cli.simulate_failure {
        None => Ok(None),
        Some(None) => Ok(Some(FaultPlan::transient(seed))),
        Some(Some(spec)) => FaultPlan::parse(spec, seed).map(Some).map_err(|error| {
            not_shown("--simulate-failure", spec).unwrap_or(UsageError::Spec(error))
        }),
    }
}

fn save(cli: &mut Cli) -> Result<SaveOptions, UsageError> {
    Ok(SaveOptions {
        dir: cli.saving.output_dir.take(),
        pack: pack_name(cli)?,
        pack_size: cli.saving.pack_size,
        cdxj: cli.saving.cdxj,
        caption_column: cli.saving.caption_column.take(),
        pack_done: cli.saving.pack_done.take().map(|command| PackCommand {
            command,
            variables: environment::hidden(&Cli::command(), std::env::vars_os()),
        }),
        pack_only_fetched: cli.saving.pack_failed == YesNoArg::No,
        journal: cli.saving.journal.take(),
        refresh: cli.saving.refresh,
        remote_time: cli.saving.remote_time,
        sync: cli.saving.sync,
        ..SaveOptions::default()
    })
}

fn results_format(cli: &Cli) -> Result<ResultFormat, UsageError> {
    if let Some(template) = &cli.format {
        let template = template_of(template)?;
        check_columns(&template, cli)?;
        return Ok(ResultFormat::Template(template));
    }
    Ok(if cli.json {
        ResultFormat::Json
    } else if cli.csv {
        ResultFormat::Csv(cli.keep_columns.clone())
    } else if terminal::wants_color(cli.color, &io::stdout()) {
        ResultFormat::ColorText
    } else {
        ResultFormat::Text
    })
}

/// Fails if a column is to be kept twice: a record has room for one of its name, in any case.
fn check_kept(names: &[String]) -> Result<(), UsageError> {
    let mut rest = names.iter();
    while let Some(first) = rest.next() {
        if let Some(second) = rest.clone().find(|name| name.eq_ignore_ascii_case(first)) {
            let [first, second] = [first, second].map(|name| redact::value(name).into_owned());
            return Err(UsageError::KeptTwice { first, second });
        }
    }
    Ok(())
}

/// Keeps the column of the captions.
fn keep_caption(cli: &mut Cli) {
    let Some(name) = &cli.saving.caption_column else {
        return;
    };
    let is_it = |kept: &String| kept.eq_ignore_ascii_case(name);
    if !cli.keep_columns.iter().any(is_it) {
        cli.keep_columns.push(name.clone());
    }
}

/// Fails for a template with a column that the run does not keep, which would always be empty.
fn check_columns(template: &Template, cli: &Cli) -> Result<(), UsageError> {
    let kept = &cli.keep_columns;
    // The entries of a sitemap, which its content may tell, have it without being asked.
    let is_date = |name: &str| {
        let may_be_sitemap = matches!(
            cli.input_format,
            InputFormatArg::Auto | InputFormatArg::Sitemap
        );
        may_be_sitemap && name.eq_ignore_ascii_case("lastmod")
    };
    let mut columns = template.columns();
    let Some(name) = columns.find(|name| !is_kept(kept, name) && !is_date(name)) else {
        return Ok(());
    };
    let why = match &**kept {
        [] => format!("without --keep-columns {name}"),
        _ if keeps_all(kept) => {
            format!(
                "with --keep-columns '*', which leaves out url, headers and body; add {name} to it"
            )
        }
        _ => format!("with --keep-columns {}; add {name} to it", kept.join(",")),
    };
    let text = format!("%{{columns.{name}}} is always empty {why}");
    Err(UsageError::Template(redact::value(&text).into_owned()))
}

fn keeps_all(kept: &[String]) -> bool {
    kept.iter().any(|name| name == "*")
}

/// Names the columns that a template prints, where all are kept: so a table that lacks one is warned
/// of.
fn name_printed_columns(config: &mut Config) {
    let kept = &mut config.input.keep_columns;
    if let Some((ResultFormat::Template(template), _)) = &config.report.results
        && keeps_all(kept)
    {
        for name in template.columns() {
            if !kept.iter().any(|it| it.eq_ignore_ascii_case(name)) {
                kept.push(name.to_owned());
            }
        }
    }
}

fn template_of(template: &str) -> Result<Template, UsageError> {
    let text = match template.strip_prefix('@') {
        None => Cow::Borrowed(template),
        Some(path) => {
            read_text(path)
                .map(Cow::Owned)
                .map_err(|cause| UsageError::TemplateFile {
                    name: path.to_owned(),
                    cause,
                })?
        }
    };
    let wrong = |error: TemplateError| redact::value(&error.to_string()).into_owned();
    Template::parse(&text).map_err(|error| UsageError::Template(wrong(error)))
}

fn report(cli: &Cli) -> Result<ReportOptions, UsageError> {
    let format = results_format(cli)?;
    let style = match cli.progress {
        _ if cli.quiet => ProgressStyle::None,
        ProgressArg::Auto => ProgressStyle::Auto,
        ProgressArg::Bar => ProgressStyle::Bar,
        ProgressArg::Plain => ProgressStyle::Plain,
        ProgressArg::None => ProgressStyle::None,
    };
    Ok(ReportOptions {
        results: Some((format, Box::new(io::stdout()))),
        on_record: None,
        ordered: cli.ordered,
        body: cli.body,
        notices: (!cli.quiet).then(|| Box::new(RedactingWriter(io::stderr())) as _),
        failed: cli.failed.clone(),
        failed_with_nul: cli.null,
        print0: cli.print0,
        page: cli.report.clone(),
        // Set by the notifier, which keeps the summary file as well.
        kept_if_empty: Vec::new(),
        cookie_jar: None,
        timeline: cli.timeline.then(|| {
            (
                terminal::timeline_style(cli.color),
                Box::new(io::stderr()) as _,
            )
        }),
        screen: Some(Screen::new(style)),
        shares_screen: io::stdout().is_terminal(),
        end_text: Some(end_text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// The command line repeats the defaults, so that the help can show them.
    #[test]
    fn the_defaults_of_the_command_line_are_those_of_the_library() {
        let cli = Cli::parse_from(["fetchall", "http://a/"]);
        let config = Config::try_from(cli).unwrap();
        let mut library = Config::default();
        library.engine.error_text = error_text;
        let text = |config: &Config| {
            let Config {
                engine,
                schedule,
                retry,
                http,
                faults,
                ..
            } = config;
            format!("{engine:#?} {schedule:#?} {retry:#?} {http:#?} {faults:#?}")
        };
        assert_eq!(text(&config), text(&library));
    }
}
