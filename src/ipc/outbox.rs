//! Frames on their way to a child.

use bytes::Bytes;

/// One line to a child, without its newline.
#[derive(Debug, Clone)]
pub enum Frame<H> {
    /// `head` followed by `tail`, both shared among the receivers.
    Message {
        /// The first part of the line.
        head: Bytes,
        /// The rest of the line, may be empty.
        tail: Bytes,
    },
    /// A line that carries a descriptor.
    Handle {
        /// The whole line.
        text: Bytes,
        /// What it carries.
        handle: H,
    },
    /// A new connection: `prefix`, the number, and `}}`.
    Newconn {
        /// Prepared once per listener by [`super::encode::newconn_prefix`].
        prefix: Bytes,
        /// The `seq` of the message.
        seq: u64,
        /// The connection.
        handle: H,
    },
}
