//! The words everyone speaks. Imports nothing of the other rooms, decides nothing.

mod attempt;
mod error;
mod event;
mod feedback;
mod job;
mod kind;
mod live;
mod moment;
mod outcome;
mod record;
mod response;
mod saved;
mod straggler;
mod summary;
mod text;
mod window;
mod wire;

pub use attempt::{Attempt, Hop};
pub(crate) use error::chain_text;
pub use error::{Cause, FetchError, RedirectProblem, TimeLimit};
pub use event::{Event, Settled};
pub use feedback::{Feedback, Verdict};
pub use job::{Credentials, Entry, HostKey, InvalidLine, Job, Place};
pub use kind::ErrorKind;
pub use live::Live;
pub use moment::{after, now};
pub use outcome::{Fetched, Outcome, OutcomeName};
pub use record::{Record, RecordError};
pub use response::ResponseHead;
pub use saved::Saved;
pub use straggler::{MOST_STRAGGLERS, Phase, Straggler};
pub use summary::{EndedBy, MaxFailures, Summary};
pub use text::{harmless, human_duration, mask_userinfo, parse_duration};
pub use window::Window;
pub use wire::{Unheard, Wire};
