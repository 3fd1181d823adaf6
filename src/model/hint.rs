//! What a user can do about a failure. The library only names the case; the program words it, with
//! the option that helps.

use serde::{Deserialize, Serialize};

/// What may help against a failure, as its cause tells. [`FetchError::hint`](super::FetchError::hint)
/// and [`InputError::hint`](crate::InputError::hint) return it.
///
/// Nothing that the run already does is hinted at. The enum is exhaustive, so that a program that
/// has words for all hints learns of a new one when it is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// No known CA has signed the server's certificate: trust its CA.
    TrustCa,
    /// The server's own certificate is marked as that of a CA: trust exactly this one, or do not
    /// verify.
    TrustCertificate,
    /// The server's certificate is invalid whatever is trusted: do not verify it.
    SkipVerification,
    /// The trusted certificates do not include the one that is needed.
    ExtendTrusted,
    /// The server requires a client certificate.
    PresentCertificate,
    /// The proxy requires a user and password.
    GiveProxyUser,
    /// The user and password for the proxy are wrong, missing, or of no use to it.
    CheckProxyUser,
    /// The process or system has too many open files: raise the limit, or lower the concurrency.
    RaiseOpenFiles,
    /// The address is not public, and the run allows no others.
    AllowPrivate,
    /// The line is a URL without a scheme: give all lines one.
    AddScheme,
    /// The line looks like JSON: read the list as JSON Lines.
    ReadAsJson,
    /// The line has several columns: read the list as tab-separated ones.
    ReadAsTable,
    /// The line contains a space: encode it, begin a comment after it, or read the list as a table.
    EncodeSpace,
    /// The entry goes on after a line break, because only a NUL ends it.
    EndWithNul,
    /// No column or field is the URL: name the right one.
    NameUrlColumn,
    /// Several columns or fields may be the URL: name one.
    ChooseUrlColumn,
    /// The line is a result without its request: use the failed lines that an earlier run kept.
    UseFailedLines,
    /// The input is a list once the command in the message has converted it.
    PipeList,
    /// The same, and the command writes CSV.
    PipeCsv,
    /// The mail server requires another user and password.
    GiveMailLogin,
    /// The TLS connection to the mail server failed: trust its CA.
    TrustMailCa,
    /// The response could be repaired if it came once more, but the request must not be sent twice.
    NotSentAgain,
}
