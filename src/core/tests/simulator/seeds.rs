//! Runs that have found something, and what that was. A change of the simulator makes other
//! runs of the same seeds: then they are to be sought anew, or to be removed.

/// Each seed finds what is said when that is brought back.
pub const FOUND: &[(u64, &str)] = &[
    (
        12,
        "clients that came last before a close were handed out with the header of their proxy",
    ),
    (
        2026,
        "a sticky port accepted again at once after descriptors had run out",
    ),
    (
        300_007_791,
        "sticky connections waited for ever behind a refused one that had gone elsewhere",
    ),
    (
        500_020_053,
        "a new worker that was being killed replaced one that served",
    ),
    (
        600_016_159,
        "the time of a refused sticky connection began when it was offered again",
    ),
];
