//! Shared data types. Depends on no other module and decides nothing.

mod archive_only;
mod attempt;
mod budget;
mod byte_ranges;
mod columns;
mod compact_map;
mod cookie_jar;
mod cookies;
mod digest;
mod durable;
mod error;
mod event;
mod feedback;
mod give_up;
mod hint;
mod http_date;
mod inner_url;
mod input_position;
mod job;
mod journal_index;
mod journaled_end;
mod json;
mod kind;
mod live_stats;
mod media_types;
mod method;
mod open_files;
mod outcome;
mod pack_note;
mod part_form;
mod partial;
mod path;
mod recent_map;
mod record;
mod reorder_window;
mod response;
mod robots_body;
mod robots_txt;
mod saved;
mod shard;
mod shard_tally;
mod similar_name;
mod sitemap;
mod spec_error;
mod straggler;
mod summary;
pub(crate) mod sync;
mod text;
mod thread;
mod time;
mod tls_text;
mod trace;
mod usage_signal;
#[cfg(test)]
mod virtual_time;
mod wake_pacer;
mod wire_state;

pub(crate) use archive_only::{ArchiveOnlyBody, MAX_ARCHIVE_ONLY_BYTES, Truncation};
#[cfg(test)]
pub(crate) use attempt::Rejections;
pub(crate) use attempt::{Attempt, Hop, JobHistory, SendMode};
pub(crate) use budget::{LineBudget, LineReservation, RawLine};
pub(crate) use byte_ranges::ByteRanges;
pub use columns::Columns;
pub(crate) use columns::{ColumnsBuilder, column_text};
pub(crate) use compact_map::{CompactMap, HashKey, KeyHasher};
pub use cookie_jar::{CookieFileError, CookieFileSummary, CookieFlaw, CookieJar};
pub(crate) use cookies::ChainCookies;
pub(crate) use digest::{BodyHasher, BodyHashes, Sha256Context};
pub use digest::{HashAlgorithm, Md5, Sha1, Sha256, Sha512};
pub(crate) use durable::{dir_of, sync_name};
pub(crate) use error::chain_text;
pub use error::{Cause, FetchError, RedirectProblem, RobotsProblem, TimeLimit};
pub(crate) use event::{EngineEvent, EventReturnQueue, SettledJob};
pub(crate) use feedback::{Feedback, HostVerdict};
pub use give_up::{GiveUpOption, GiveUpReason};
pub use hint::Hint;
pub(crate) use http_date::parse_http_date;
pub(crate) use inner_url::{
    mask_inner_passwords, mask_urls, may_hold_userinfo, word_holds_password,
};
pub(crate) use input_position::InputPosition;
pub use job::Credentials;
pub(crate) use job::{HostKey, InvalidLine, Job, LineOptions, ListEntry, Mirror, is_same_origin};
pub(crate) use journal_index::{JournalIndex, PriorFetch};
pub(crate) use journaled_end::JournaledEnd;
pub(crate) use json::{ObjectWriter, escape_json, write_json};
pub use kind::ErrorKind;
pub(crate) use live_stats::LiveStats;
pub use media_types::ExpectedTypes;
pub use method::parse_method;
pub(crate) use open_files::{
    DESCRIPTOR_TIMEOUT, allowed_descriptors, is_out_of_descriptors, open_when_free,
};
pub use outcome::OutcomeName;
pub(crate) use outcome::{FetchSuccess, Outcome};
pub(crate) use pack_note::{FinishedPack, PackHistory, PackNote};
pub(crate) use part_form::{EntryGuard, ListCompression, PartForm};
pub(crate) use partial::{BodyVersion, PartialBody, Revalidation};
pub(crate) use path::RelPath;
pub use path::add_extension;
pub(crate) use recent_map::{RecentEntry, RecentMap};
pub(crate) use record::ErrorText;
pub use record::{ContentChange, Record, RecordError};
pub(crate) use reorder_window::ReorderWindow;
pub(crate) use response::{KeptCoding, ResponseHead, SentRequest, TlsVersion};
pub(crate) use robots_body::{RobotsBody, RobotsRoom};
pub(crate) use robots_txt::{
    MAX_ROBOTS_BYTES, ROBOTS_PATH, RobotsRules, is_product_token, is_robots_txt,
};
pub use saved::PackPlace;
pub(crate) use saved::{PackLimits, PackPosition, SavedBody};
pub(crate) use shard::{SHARD_VERSION, ShardAssigner, ShardMark, shard_host};
pub use shard::{Shard, ShardBy};
pub(crate) use shard_tally::ShardTally;
pub use similar_name::similar_name;
pub(crate) use sitemap::{PendingSitemap, SitemapBody, SitemapReply};
pub use spec_error::SpecError;
pub(crate) use straggler::{MAX_STRAGGLERS, Straggler, StragglerPhase};
pub use summary::{EndReason, MaxFailures, Summary};
pub(crate) use text::{
    elide_middle, escape_formula, format_duration, holds_at_sign, mask_userinfo, prefix_within,
    unescape_formula,
};
pub use text::{escape_control, is_control, parse_duration};
#[cfg(feature = "cli")]
pub use thread::is_thread_error;
pub(crate) use thread::{no_thread, spawn_blocking, start_thread};
pub(crate) use time::{deadline_after, now, rfc3339, timestamp_span, wall_time};
pub(crate) use tls_text::tls_hint;
pub(crate) use trace::{AttemptTrace, TraceOutcome, add_trace};
pub use usage_signal::UsageSignal;
#[cfg(test)]
pub(crate) use virtual_time::{VirtualTime, is_virtual, report_leak};
pub(crate) use wake_pacer::WakePacer;
pub(crate) use wire_state::{ResendCause, WireState};
