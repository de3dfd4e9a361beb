//! What the native side does, on stderr, when `EGG_CLUSTER_RS_LOG` asks for it
//! (`debug`, or a filter such as `egg_cluster_rs::driver=trace`).

use std::sync::Once;

use tracing_subscriber::EnvFilter;

static INIT: Once = Once::new();

/// Sets the output up, once per process. Without the variable nothing is written.
pub fn init() {
    INIT.call_once(|| {
        let Ok(filter) = EnvFilter::try_from_env("EGG_CLUSTER_RS_LOG") else {
            return;
        };
        // Another library of the process may have a subscriber already.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .try_init();
    });
}
