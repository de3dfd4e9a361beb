//! What must hold for whatever bytes come in: one function for each kind of input, which
//! panics where a promise is broken.
//!
//! The programs in `fuzz/` call them with inputs that libFuzzer makes up (`npm run fuzz`), the
//! tests with those of `fuzz/corpus` and changes of them. They stand inside the crate since
//! much of what they call is private. Only `cfg(test)` and `cfg(fuzzing)` have this module.
#![allow(
    clippy::unwrap_used,
    reason = "a broken promise is reported by a panic"
)]

mod bytes;
mod codec;
mod config;
mod envelope;
mod head;
mod json_model;
mod message;
#[cfg(test)]
mod tests;

/// A promise about any input.
pub type Property = fn(&[u8]);

/// Every target of `fuzz/`, by its name.
pub const TARGETS: [(&str, Property); 6] = [
    ("codec", codec::check),
    ("config", config::check),
    ("envelope", envelope::check),
    ("head", head::check),
    ("message", message::check),
    ("outbox", crate::ipc::outbox::model::check),
];

/// Checks the promise of a target.
///
/// # Panics
/// Where it is broken, or there is no such target.
pub fn check(target: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, property) = found.expect("a target of this name");
    property(data);
}
