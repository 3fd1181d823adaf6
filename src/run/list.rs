//! What a run reads.

use std::path::PathBuf;

use crate::input::{BaseUrl, DefaultScheme, InputFormat, InputOptions, Source, UrlIterator};

/// The input of [`Fetcher::run`](crate::Fetcher::run): lists and URLs, read one after another as a
/// stream, so that their length does not matter.
///
/// ```
/// use fetchall::{InputFormat, List};
///
/// let list = List::file("urls.csv.gz");
/// let list = List::stdin().format(InputFormat::JsonLines);
/// let list = List::urls((1..=1_000_000).map(|n| format!("https://example.com/{n}")));
/// ```
#[derive(Debug)]
pub struct List(InputOptions);

impl List {
    /// URLs, made no faster than they are fetched, on a thread that only does that.
    pub fn urls<I>(urls: I) -> Self
    where
        I: IntoIterator<Item: Into<String> + 'static, IntoIter: Send + 'static>,
    {
        let urls = urls.into_iter().map(Into::into);
        Self::of(Source::Urls(UrlIterator(Box::new(urls))))
    }

    /// A list in a file, compressed with gzip or zstd or not.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::of(Source::File(path.into()))
    }

    /// A list on standard input.
    #[must_use]
    pub fn stdin() -> Self {
        Self::of(Source::Stdin)
    }

    /// This list, then another one. Both are read as this one's format says.
    #[must_use]
    pub fn chain(mut self, next: Self) -> Self {
        self.0.sources.extend(next.0.sources);
        self
    }

    /// The format of all files and of standard input. Default: by the extension of a file, and
    /// text for standard input.
    #[must_use]
    pub fn format(mut self, format: InputFormat) -> Self {
        self.0.format = format;
        self
    }

    /// The scheme of URLs without one, such as `example.com/a`. Default: none, and such a line fails.
    #[must_use]
    pub fn default_scheme(mut self, scheme: DefaultScheme) -> Self {
        self.0.scheme = Some(scheme);
        self
    }

    /// The URL of the folder with the files of a manifest ([`InputFormat::Manifest`]), which cannot be
    /// read without one.
    #[must_use]
    pub fn base_url(mut self, url: BaseUrl) -> Self {
        self.0.base_url = Some(url);
        self
    }

    /// The column or field with the URL. Default: `url`, or else the only one that is named like a URL.
    #[must_use]
    pub fn url_column(mut self, name: impl Into<String>) -> Self {
        self.0.url_column = Some(name.into());
        self
    }

    /// Columns or fields that records repeat, `*` for all. Default: none.
    #[must_use]
    pub fn keep_columns<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.0.keep_columns = names.into_iter().map(Into::into).collect();
        self
    }

    fn of(source: Source) -> Self {
        Self(InputOptions {
            sources: vec![source],
            ..InputOptions::default()
        })
    }

    pub(super) fn into_options(self) -> InputOptions {
        self.0
    }
}
