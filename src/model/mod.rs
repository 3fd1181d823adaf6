//! Shared data types. Depends on no other module and decides nothing.

mod attempt;
mod budget;
mod columns;
mod compact_map;
mod cookie_jar;
mod cookies;
mod digest;
mod error;
mod event;
mod feedback;
mod history;
mod inner_url;
mod input_position;
mod job;
mod json;
mod kind;
mod live_stats;
mod media_types;
mod method;
mod open_files;
mod outcome;
mod partial;
mod path;
mod record;
mod reorder_window;
mod response;
mod saved;
mod similar_name;
mod sitemap;
mod spec_error;
mod straggler;
mod summary;
mod text;
mod time;
mod tls_text;
mod trace;
mod unwanted;
mod wake_pacer;
mod wire_state;

pub use attempt::{Attempt, AttemptHistory, Hop, SendMode};
pub use budget::{LineBudget, RawLine};
pub use columns::{Columns, ColumnsBuilder};
pub use compact_map::{CompactMap, KeyHasher};
pub use cookie_jar::{CookieFileError, CookieJar};
pub use cookies::ChainCookies;
pub use digest::{BodyHasher, BodyHashes, HashAlgorithm, Md5, Sha1, Sha256, Sha256Context, Sha512};
pub(crate) use error::chain_text;
pub use error::{Cause, FetchError, RedirectProblem, TimeLimit};
pub use event::{EngineEvent, EventReturnQueue, SettledJob};
pub use feedback::{Feedback, HostVerdict};
pub use history::{History, PriorFetch};
pub use inner_url::{mask_inner_passwords, may_hold_userinfo, word_holds_password};
pub use input_position::InputPosition;
pub use job::{
    Credentials, HostKey, InvalidLine, Job, LineOptions, ListEntry, Mirror, is_same_origin,
};
pub use json::{ObjectWriter, write_json};
pub use kind::ErrorKind;
pub use live_stats::LiveStats;
pub use media_types::ExpectedTypes;
pub use method::parse_method;
pub use open_files::{
    DESCRIPTOR_TIMEOUT, OPEN_FILES_HINT, allowed_descriptors, is_out_of_descriptors, open_when_free,
};
pub use outcome::{FetchSuccess, Outcome, OutcomeName};
pub use partial::{BodyVersion, PartialBody, Revalidation};
pub use path::RelPath;
pub use record::{ContentChange, ErrorHint, Record, RecordError};
pub use reorder_window::ReorderWindow;
pub use response::{KeptCoding, ResponseHead, SentRequest, TlsVersion};
pub use saved::{PackPlace, SavedBody};
pub use similar_name::similar_name;
pub use sitemap::{PendingSitemap, SitemapBody, SitemapReply};
pub use spec_error::SpecError;
pub use straggler::{MAX_STRAGGLERS, Straggler, StragglerPhase};
pub use summary::{EndReason, MaxFailures, Summary};
pub use text::{
    elide_middle, escape_control, format_duration, is_control, mask_userinfo, parse_duration,
};
pub use time::{deadline_after, now};
pub use tls_text::tls_hint;
pub use trace::{AttemptTrace, TraceOutcome, add_trace};
pub use unwanted::{MAX_UNWANTED_BYTES, Truncation, UnwantedBody};
pub use wake_pacer::WakePacer;
pub use wire_state::{Unprocessed, WireState};
