//! The stable names of the kinds of errors.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The stable names of the kinds of [`FetchError`](super::FetchError), as they stand in
        /// records.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorKind { $($(#[$doc])* $variant,)* }

        impl ErrorKind {
            /// Every kind, in the order of the documentation.
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
    /// The line is no http(s) URL.
    InvalidUrl = "invalid_url",
    /// The host name could not be resolved.
    Dns = "dns",
    /// Nothing listens at that port.
    Refused = "refused",
    /// No way to that host.
    Unreachable = "unreachable",
    /// No connection in time.
    ConnectTimeout = "connect_timeout",
    /// No secure connection.
    Tls = "tls",
    /// A proxy made no connection to the host.
    Proxy = "proxy",
    /// No head in time, or the attempt took too long.
    Timeout = "timeout",
    /// The body came too slowly.
    Stalled = "stalled",
    /// The connection was lost.
    Reset = "reset",
    /// The body was cut off.
    Truncated = "truncated",
    /// Not HTTP as it should be.
    Protocol = "protocol",
    /// A redirect that can't be followed.
    Redirect = "redirect",
    /// A final status other than 2xx.
    Status = "status",
    /// The body does not decode.
    Decode = "decode",
    /// The body is too large.
    TooLarge = "too_large",
    /// The body is not the expected one.
    Checksum = "checksum",
    /// A guard forbids the address.
    Denied = "denied",
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
