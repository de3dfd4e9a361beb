//! Node's child channel: lines of JSON, descriptors beside them, and the two acknowledgements.
//!
//! | module | what it holds |
//! |---|---|
//! | [`codec`] | bytes to lines |
//! | [`message`] | a line to what a child says |
//! | [`envelope`] | who a user message is for, and stamping `from` and `to` on it |
//! | [`encode`] | what the primary of a cluster says |
//! | [`outbox`] | frames on their way to a child, with their descriptors and acknowledgements |
//!
//! Sans-IO like the core: bytes and descriptors come and go by the caller's hands.

pub mod codec;
pub mod encode;
pub mod envelope;
mod json;
pub mod message;
pub mod outbox;
