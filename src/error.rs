//! Errors that reach JavaScript. They are turned into `napi::Error` in one place, `binding.rs`.

/// Why a master could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not the JSON of a configuration.
    #[error("invalid configuration of the native master: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A master without workers would never be ready.
    #[error("invalid configuration of the native master: workers should be at least 1, but got 0")]
    NoWorkers,
    /// A program or script that is to be started does not exist.
    #[error("{0} should exist, and be a file: the workers are started from it")]
    MissingFile(String),
    /// Nobody would wait in a worker that is started ahead of time.
    #[error("invalid configuration of the native master: prestart needs a preloadFile")]
    NoPreload,
    /// A network of trusted proxies cannot be read.
    #[error("stickyKey.trust should hold addresses and networks such as 10.0.0.0/8, but has {0:?}")]
    BadNetwork(String),
    /// A cookie or query parameter is looked for, but which?
    #[error("stickyKey.name should name the cookie or query parameter to look for")]
    NoKeyName,
    /// Neither a name nor a port alone is an address.
    #[error("control.tcp should be an address such as 127.0.0.1:9100, but is {0:?}")]
    BadAddress(String),
    /// No argument or variable of a process can hold a zero byte.
    #[error("a zero byte cannot be passed to a worker, but stands in {0:?}")]
    NulByte(String),
}

/// Why a request could not be passed to the core.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The core thread has ended, after `closed` or `fatal`.
    #[error("the native master has ended")]
    Ended,
    /// The core thread did not answer within a second.
    #[error("the native master does not answer")]
    NoAnswer,
    /// Only JSON objects are messages.
    #[error("a message should be a JSON object: {0}")]
    NotAMessage(String),
}
