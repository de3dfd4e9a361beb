//! The few keys of a user message that decide where it goes.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

/// Who a message is for, and what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `action`, where it is a string.
    pub action: Option<String>,
    /// `from`, where it is a non-empty string.
    pub from: Option<String>,
    /// `to`, where it is a non-empty string.
    pub to: Option<String>,
    /// `receiverPid`, a string (or number) that is not empty, as text.
    pub receiver_pid: Option<String>,
    /// `receiverWorkerId`, likewise.
    pub receiver_worker_id: Option<String>,
}
