//! Telling somebody that the run is over. Runs after everything else.

mod mail;

pub use mail::{Delivery, Email, deliver, send_email};
