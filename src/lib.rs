//! egg-cluster-rs
pub mod binding;
pub mod core;
pub mod driver;
pub mod error;
pub mod ipc;
pub mod sys;
pub mod trace;
