/// What is limited although nobody asked for it.
mod defaults;
/// `--deny-private`.
mod deny_private;
/// Passwords, tokens and cookies, and where they may be seen.
mod secrets;
