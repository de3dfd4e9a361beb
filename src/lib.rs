//! egg-cluster-rs
pub mod core;
pub mod ipc;
pub mod sys;
