//! Reports panics: one line that says where, instead of a backtrace that helps only developers.

use std::any::Any;
use std::io::{self, Write};
use std::panic::PanicHookInfo;

use fetchall::program::escape_control;

use super::version::VERSION;
use super::{MORE_THREADS, redact};

/// Replaces the panic message of the standard library. The run then ends with an internal error.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let location = info.location().map(ToString::to_string);
        let text = text(location.as_deref(), info.payload());
        // Ignored if stderr is closed.
        let _ = writeln!(io::stderr(), "fetchall: {text}");
    }));
}

/// How the panic of tokio begins when the system starts no further thread, which is no bug.
const NO_THREAD: &str = "OS can't spawn worker thread: ";

fn text(location: Option<&str>, payload: &(dyn Any + Send)) -> String {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    if let Some(cause) = message.and_then(|message| message.strip_prefix(NO_THREAD)) {
        return format!("cannot start a thread: {cause}; {MORE_THREADS}");
    }
    // The message of a panic may quote what was being processed.
    let message = redact::message(message.unwrap_or("no message"));
    let message = escape_control(&message);
    let location = location.unwrap_or("an unknown place");
    format!(
        "internal error at {location} of version {VERSION}: {message}; please file an issue with \
         this line"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_one_line_with_place_and_version_and_no_password() {
        let quoted = "byte 3 of http://me:s3cret@h/\nis not a char boundary".to_owned();
        let line = text(Some("src/x.rs:1:2"), &quoted);
        assert!(line.contains("src/x.rs:1:2"), "{line}");
        assert!(line.contains(env!("CARGO_PKG_VERSION")), "{line}");
        assert!(
            !line.contains("s3cret") && line.contains("char boundary"),
            "{line}"
        );
        assert!(!line.contains('\n'), "{line}");
        assert!(text(None, &1).contains("no message"));
        let line = text(
            None,
            &"OS can't spawn worker thread: none left (os error 11)",
        );
        let advice = "allow this user more processes (ulimit -u)";
        assert_eq!(
            line,
            format!("cannot start a thread: none left (os error 11); {advice}")
        );
    }
}
