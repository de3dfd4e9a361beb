//! The decisions.
pub mod event;
