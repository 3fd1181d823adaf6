/// Limits that apply by default.
mod defaults;
/// `--deny-private`.
mod deny_private;
/// Passwords, tokens and cookies, and where they may appear.
mod secrets;
