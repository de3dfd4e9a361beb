//! Runs that have found something, and what that was. A change of the simulator makes other
//! runs of the same seeds: then they are to be sought anew, or to be left as they are.

/// Each seed finds what is said when that is brought back.
pub const FOUND: &[(u64, &str)] = &[
    (
        7,
        "the descendants of a child were forgotten after the last event",
    ),
    (
        21,
        "a worker was sent sticky connections after SIGTERM; a sticky connection that was not taken during a close hung until the end",
    ),
    (
        60,
        "a worker that answered for its connections one after the other was taken for stuck",
    ),
    (
        118,
        "a worker that had said that it leaves was given sticky connections",
    ),
    (
        208,
        "a failed start did not wait for the descendants of a child that was being ended",
    ),
    (
        326,
        "the slot of a worker that lost its channel while others booted stayed empty",
    ),
    (
        381,
        "a worker retired by a reload was given connections of its other ports",
    ),
    (467, "a close left an agent behind whose fork was under way"),
    (
        586,
        "sticky connections stayed in the queue of a worker that had said that it leaves",
    ),
    (
        622,
        "sticky clients waited beside the new worker of a reload",
    ),
    (
        623,
        "a start and a reload waited for ever for a child that had lost its channel and lived on",
    ),
    (
        846,
        "connections of one port were not handed out at a close while another was being emptied",
    ),
    (
        871,
        "a connection stayed open at the end that was being looked at",
    ),
    (
        903,
        "a sticky connection that was not taken had no ten seconds to wait",
    ),
    (
        920,
        "a sticky connection of a dead worker had no ten seconds to wait",
    ),
    (
        1300,
        "the core accepted on a sticky port that was not bound yet",
    ),
];
