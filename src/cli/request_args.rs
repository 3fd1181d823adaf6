//! The options of requests.

use std::path::PathBuf;

use clap::Args;
use fetchall::ResolveRule;
use http::{HeaderValue, Method};

use super::value_parsers;

/// What is requested, and over which connections.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct RequestArgs {
    /// Request method.
    ///
    /// GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS in any case, others exactly as given. An
    /// input line can have its own [default: GET, with -d POST].
    #[arg(
        short = 'X',
        long = "request",
        value_name = "METHOD", value_parser = value_parsers::method,
        help_heading = "Request"
    )]
    pub method: Option<Method>,
    /// Request body; @FILE and @- read it.
    ///
    /// @FILE reads it from a file, @- from stdin. Without a Content-Type header it is sent as a
    /// form.
    #[arg(short = 'd', long, value_name = "DATA", help_heading = "Request")]
    pub data: Option<String>,
    /// Request header 'Name: value', or @FILE.
    ///
    /// Can be given several times. Sent to every host of the list. @FILE has one header per line;
    /// blank lines and lines that start with # are skipped. Other users of the machine can see a command line, but not a file that
    /// only you can read. Content-Length and Transfer-Encoding follow from the body and cannot be
    /// set.
    #[arg(
        short = 'H',
        long = "header",
        value_name = "HEADER",
        help_heading = "Request"
    )]
    pub headers: Vec<String>,
    /// Cookies 'NAME=VALUE; ...', or a cookies.txt.
    ///
    /// Text with = is sent as a Cookie header, to the origins in the list only. Otherwise it is a
    /// file in the Netscape format, as browser extensions, curl and wget write it: each cookie is
    /// sent where it belongs, and cookies that servers set are then kept for all URLs of the run.
    /// Can be given several times.
    #[arg(short = 'b', long, value_name = "DATA", help_heading = "Request")]
    pub cookie: Vec<String>,
    /// Keep cookies for all URLs; write them here.
    ///
    /// By default a cookie lasts for the redirects of one URL. The file is written when the run
    /// ends, with those of -b FILE, and only its owner can read it. It may be the file of -b.
    #[arg(short = 'c', long, value_name = "FILE", help_heading = "Request")]
    pub cookie_jar: Option<PathBuf>,
    /// User-Agent [default: fetchall/VERSION].
    #[arg(short = 'A', long, value_name = "NAME", value_parser = value_parsers::user_agent, help_heading = "Request")]
    pub user_agent: Option<HeaderValue>,
    /// Basic credentials: USER:PASSWORD or USER:@FILE.
    ///
    /// Sent only to the origins in the list, not to redirect targets elsewhere. With USER:@FILE the
    /// password is the first line of the file [default: the value of FETCHALL_USER].
    #[arg(short = 'u', long, value_name = "USER", help_heading = "Request")]
    pub user: Option<String>,
    /// Read credentials by host from ~/.netrc.
    ///
    /// They are sent to the hosts that the file names, at every hop of a redirect, unless the URL or
    /// -u has some. A default entry is for all hosts.
    #[arg(short = 'n', long, help_heading = "Request")]
    pub netrc: bool,
    /// Read credentials by host from this file.
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    pub netrc_file: Option<PathBuf>,
    /// Send HEAD requests.
    ///
    /// Where the answer is 405 or 501, GET is sent once instead, and its body is not read.
    #[arg(short = 'I', long, conflicts_with_all = ["method", "data"], help_heading = "Request")]
    pub head: bool,
    /// Proxy for all requests; '' for none.
    ///
    /// Schemes: http, https, socks4, socks4a, socks5 and socks5h; HOST:PORT alone is http, as in
    /// curl. Credentials go into -U [default: from HTTP_PROXY,
    /// HTTPS_PROXY, ALL_PROXY and NO_PROXY; NO_PROXY takes names, addresses and networks, each
    /// optionally with a port, or *].
    #[arg(short = 'x', long, value_name = "URL", help_heading = "Request")]
    pub proxy: Option<String>,
    /// Credentials for the -x proxy, as with -u.
    ///
    /// With USER:@FILE the password is the first line of the file.
    #[arg(
        short = 'U',
        long,
        value_name = "USER",
        requires = "proxy",
        help_heading = "Request"
    )]
    pub proxy_user: Option<String>,
    /// Skip TLS certificate verification.
    ///
    /// Signatures are not checked either, nor whether the server holds the key: anyone on the
    /// network path can read and change everything.
    #[arg(short = 'k', long, help_heading = "Request")]
    pub insecure: bool,
    /// CA certificates to trust (PEM).
    ///
    /// Replaces the system's. A server's own certificate may be among them: it is trusted if the
    /// server presents exactly that certificate, holds its key, and name and dates match.
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    pub cacert: Option<PathBuf>,
    /// Client certificate (PEM).
    ///
    /// Presented to every server that asks for one. The file may also have its key and the
    /// certificates that lead to its authority.
    #[arg(short = 'E', long, value_name = "FILE", help_heading = "Request")]
    pub cert: Option<String>,
    /// Key of the -E certificate (PEM).
    ///
    /// An encrypted key cannot be used.
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Request")]
    pub key: Option<PathBuf>,
    /// Override DNS: HOST:PORT:ADDR[,ADDR].
    ///
    /// Connects to these addresses for this host (* for any) and port instead of resolving the
    /// name. Can be given several times.
    #[arg(long, value_name = "RULE", value_parser = value_parsers::resolve, help_heading = "Request")]
    pub resolve: Vec<ResolveRule>,
    /// Connect over IPv4 only.
    #[arg(short = '4', long, conflicts_with = "ipv6", help_heading = "Request")]
    pub ipv4: bool,
    /// Connect over IPv6 only.
    #[arg(short = '6', long, help_heading = "Request")]
    pub ipv6: bool,
    /// Local address, or network interface.
    ///
    /// With an address, only addresses of its IP version are connected to. A name such as eth0
    /// works on Linux.
    #[arg(long, value_name = "ADDR", value_parser = value_parsers::interface, help_heading = "Request")]
    pub interface: Option<String>,
    /// Connect to public addresses only.
    ///
    /// Loopback, private, link-local, metadata and all other special addresses fail as denied,
    /// including those of redirects and of --resolve. Names are checked after resolution, and
    /// connections go to exactly the checked addresses. Proxies from the environment are ignored.
    #[arg(long, conflicts_with = "demo", help_heading = "Request")]
    pub deny_private: bool,
    /// Do not request compressed responses.
    #[arg(long, help_heading = "Request")]
    pub no_compression: bool,
    /// Keep content codings; do not decode bodies.
    ///
    /// By default gzip, br, zstd and deflate are decoded, except where the coding belongs to the
    /// file, as with a .tar.gz (by name or type). A coding that is kept is in the record, as
    /// content_encoding.
    #[arg(long, help_heading = "Request")]
    pub raw: bool,
    /// Use HTTP/1.1 only.
    #[arg(
        long = "http1.1",
        conflicts_with = "http2_prior_knowledge",
        help_heading = "Request"
    )]
    pub http1: bool,
    /// HTTP/2 without negotiation, even without TLS.
    #[arg(long, help_heading = "Request")]
    pub http2_prior_knowledge: bool,
}
