//! The words that the program adds to messages of the library: the options that help.

use fetchall::program::MailError;
use fetchall::{EndReason, FetchError, GiveUpOption, Hint, Problem, RedirectProblem, TimeLimit};

/// Returns the message of the error of a URL, with the options that help.
pub(crate) fn error_text(error: &FetchError) -> String {
    let text = with_hint(error);
    match limit_option(error) {
        Some(option) => format!("{text} ({option})"),
        None => text,
    }
}

/// Returns the message with the hint behind the error that has it, and with the names of options.
fn with_hint(error: &FetchError) -> String {
    let (text, why) = match error {
        FetchError::HostGivenUp { error, why } => (with_hint(error), why),
        FetchError::Status {
            status,
            retry_after,
            note: Some(why),
        } => {
            let alone = FetchError::Status {
                status: *status,
                retry_after: *retry_after,
                note: None,
            };
            (with_hint(&alone), why)
        }
        error => return with_suffix(error, error.hint()),
    };
    format!("{text}; {}", why.text(give_up_option))
}

fn with_suffix(error: &impl ToString, hint: Option<Hint>) -> String {
    let mut text = error.to_string();
    text.push_str(hint.map_or("", suffix));
    text
}

/// The option that set the limit which a failed URL exceeded.
fn limit_option(error: &FetchError) -> Option<&'static str> {
    match error {
        FetchError::ConnectTimeout { .. } => Some("--connect-timeout"),
        FetchError::Timeout {
            limit: TimeLimit::Head(_) | TimeLimit::ProxyHead(..),
        }
        | FetchError::Stalled { .. } => Some("--stall-timeout"),
        FetchError::Timeout {
            limit: TimeLimit::Attempt(_),
        } => Some("--max-time"),
        FetchError::TooLarge { .. } => Some("--max-size"),
        FetchError::Redirect {
            problem: RedirectProblem::TooMany(_),
        } => Some("--max-redirects"),
        FetchError::HostGivenUp { error, .. } => limit_option(error),
        _ => None,
    }
}

fn give_up_option(option: GiveUpOption) -> &'static str {
    match option {
        GiveUpOption::RetryAfterMax => "--retry-after-max",
        GiveUpOption::MaxWait => "--max-wait",
        GiveUpOption::Retries => "--retries",
    }
}

/// Returns the message of a problem of the run, with the option that helps.
pub(crate) fn problem_text(problem: &Problem) -> String {
    let hint = match problem {
        Problem::Input(error) => error.hint(),
        _ => None,
    };
    with_suffix(problem, hint)
}

/// Returns the message of an email that was not sent, with the options that help.
pub(super) fn mail_text(error: &MailError) -> String {
    match error {
        MailError::Several { first, others } => {
            format!("{}; also not sent to {others}", mail_text(first))
        }
        error => with_suffix(error, error.hint()),
    }
}

/// Says why a run ended early, with the option that made it.
pub(crate) fn end_text(reason: EndReason) -> String {
    match reason {
        EndReason::StopAfter(_) => format!("{reason} (--stop-after)"),
        EndReason::MaxFailures(_) => format!("{reason} (--max-failures)"),
        EndReason::Delivery => format!("{reason} (--pack-done)"),
        _ => reason.to_string(),
    }
}

/// Returns what follows a message with this hint.
fn suffix(hint: Hint) -> &'static str {
    match hint {
        Hint::TrustCa => {
            "; trust it with --cacert FILE; without the package ca-certificates no CA is known"
        }
        Hint::TrustCertificate => {
            "; --cacert FILE trusts exactly the certificate in FILE, -k skips verification"
        }
        Hint::SkipVerification => "; -k skips verification",
        Hint::ExtendTrusted => " (--cacert)",
        Hint::PresentCertificate => "; -E FILE presents one",
        Hint::GiveProxyUser => " (-U USER:@FILE)",
        Hint::CheckProxyUser => " (-U)",
        Hint::RaiseOpenFiles => "; raise ulimit -n or lower -j",
        Hint::AllowPrivate => "; --deny-private allows public addresses only",
        Hint::AddScheme => " (--scheme adds one to all lines)",
        Hint::ReadAsJson => "; try --input-format jsonl",
        Hint::ReadAsTable => "; use --input-format tsv for columns",
        Hint::EncodeSpace => {
            "; write it as %20 in a URL, put # before a comment, or use --input-format tsv for \
             columns"
        }
        Hint::EndWithNul => "; with -0 only a NUL ends an entry",
        Hint::NameUrlColumn => " (--url-column NAME chooses one)",
        Hint::ChooseUrlColumn => "; choose one with --url-column NAME",
        Hint::UseFailedLines => "; rerun from --failed FILE instead",
        Hint::PipeList => " | fetchall",
        Hint::PipeCsv => " | fetchall --input-format csv",
        Hint::GiveMailLogin => {
            "; set the user in --smtp smtps://USER@HOST, the password in FETCHALL_SMTP_PASSWORD or \
             --smtp-password-file"
        }
        Hint::NotSentAgain => {
            "; the server's response breaks the rules, and a POST is not sent again"
        }
        Hint::TrustMailCa => "; for a mail server with a private CA, use --cacert FILE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    use fetchall::{Cause, GiveUpReason};

    #[test]
    fn hints_and_reasons_keep_their_places_in_nested_errors() {
        const SECOND: Duration = Duration::from_secs(1);
        let too_long = GiveUpReason::DelayTooLong {
            requested: SECOND * 600,
            max: SECOND * 300,
        };
        let throttles = GiveUpReason::HostThrottles { max: SECOND * 25 };
        let status = |code, note| FetchError::Status {
            status: http::StatusCode::from_u16(code).unwrap(),
            retry_after: Some(SECOND),
            note,
        };
        let given_up = |error, why| FetchError::HostGivenUp {
            error: Arc::new(error),
            why,
        };
        let timed_out = FetchError::ConnectTimeout {
            limit: SECOND,
            proxy: None,
        };
        let polling = GiveUpReason::PollingOff { requested: SECOND };
        let refused = FetchError::Refused {
            cause: Cause::from_text("x"),
        };
        let page = [
            refused,
            status(407, Some(too_long.clone())),
            status(
                202,
                Some(GiveUpReason::StillProcessing(Box::new(too_long.clone()))),
            ),
            status(202, Some(polling)),
            given_up(status(503, None), too_long),
            given_up(status(407, None), throttles),
            given_up(timed_out, GiveUpReason::HostDown { failures: 3 }),
        ];
        let page = page.map(|error| format!("{error}\n{}", error_text(&error)));
        insta::assert_snapshot!("texts_with_options", page.join("\n\n"));
    }
}
