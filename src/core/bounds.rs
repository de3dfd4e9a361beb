//! What one worker may ask for, be it broken or hostile: more of it would be at the cost of all.

use super::Core;
use super::event::ChildId;
use crate::ipc::message::QueryServer;

/// The longest address of a listener, in bytes; a path of the system is at most as long.
const ADDRESS_LIMIT: usize = 4096;
/// The longest data of a listener, in bytes. Node sends keys of TLS tickets, which take about 100.
const DATA_LIMIT: usize = 64 << 10;
/// "Too many open files" and "Invalid argument"; the same numbers on Linux and macOS.
const EMFILE: i32 = 24;
const EINVAL: i32 = 22;

impl Core {
    /// Whether a query is kept within bounds; if not it is reported, with the errno for its answer.
    pub(super) fn check_query(&mut self, id: u32, query: &QueryServer) -> Result<(), i32> {
        let address = query.address.as_ref().map_or(0, String::len);
        let data = query.data.as_ref().map_or(0, |data| data.get().len());
        for (what, length, limit) in [
            ("address", address, ADDRESS_LIMIT),
            ("data", data, DATA_LIMIT),
        ] {
            if length > limit {
                let reason =
                    format!("queryServer: \"{what}\" has {length} bytes, of at most {limit}");
                self.report_bad_message(ChildId::App(id), reason);
                return Err(EINVAL);
            }
        }
        Ok(())
    }

    /// Whether a worker may have one more listener; if not that is reported, with the errno for its answer.
    pub(super) fn check_listeners(&mut self, id: u32) -> Result<(), i32> {
        let limit = self.settings.limits.listeners;
        let reason = if self.listeners.of_member(id).len() >= limit {
            format!("queryServer: it has {limit} listeners already (limits.listeners)")
        } else if self.listeners.count() > limit.saturating_mul(self.workers.slot_count() as usize)
        {
            // Those of workers that died wait for their successors, which may ask for others.
            format!(
                "queryServer: the workers have {} listeners already (limits.listeners)",
                self.listeners.count()
            )
        } else {
            return Ok(());
        };
        self.report_bad_message(ChildId::App(id), reason);
        Err(EMFILE)
    }
}
