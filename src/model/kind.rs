//! The error kinds and their stable names.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The kind of a [`FetchError`](super::FetchError), by its stable name in records.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $variant,)* }

        impl ErrorKind {
            /// All kinds, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in records and documentation.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// The input line is not a valid request.
    InvalidUrl = "invalid_url",
    /// The host name could not be resolved.
    Dns = "dns",
    /// Nothing listens on that port.
    Refused = "refused",
    /// The host is unreachable.
    Unreachable = "unreachable",
    /// No connection within the timeout.
    ConnectTimeout = "connect_timeout",
    /// TLS failed.
    Tls = "tls",
    /// The proxy did not connect to the host.
    Proxy = "proxy",
    /// No response within the timeout, or the attempt took too long.
    Timeout = "timeout",
    /// The body arrived too slowly.
    Stalled = "stalled",
    /// The connection was lost.
    Reset = "reset",
    /// The body ended early.
    Truncated = "truncated",
    /// The response is not valid HTTP.
    Protocol = "protocol",
    /// The redirect cannot be followed.
    Redirect = "redirect",
    /// The site does not want it: robots.txt disallows the URL, or the response reserves its use.
    Robots = "robots",
    /// A final status other than 2xx.
    Status = "status",
    /// The body cannot be decoded.
    Decode = "decode",
    /// The body is too large.
    TooLarge = "too_large",
    /// The body does not match the list, or the headers of its response.
    Checksum = "checksum",
    /// The body is not of an expected media type.
    ContentType = "content_type",
    /// The address is not allowed.
    Denied = "denied",
    /// The file belongs to another input line.
    Conflict = "conflict",
    /// The body could not be saved.
    Save = "save",
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_code_is_the_name_in_records() {
        for kind in ErrorKind::ALL {
            assert_eq!(
                serde_json::to_string(kind).unwrap(),
                format!("\"{}\"", kind.as_str())
            );
        }
    }
}
