//! What the native side does, on stderr, when `EGG_CLUSTER_RS_LOG` asks for it: a level
//! (`debug`), or levels by module (`egg_cluster_rs::driver=trace,info`).

use std::sync::Once;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

static INIT: Once = Once::new();

/// Sets the output up, once per process. Without the variable nothing is written.
pub fn init() {
    INIT.call_once(|| {
        let Ok(filter) = std::env::var("EGG_CLUSTER_RS_LOG") else {
            return;
        };
        let Ok(targets) = filter.parse::<Targets>() else {
            return;
        };
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
        // Another library of the process may have a subscriber already.
        let _ = tracing_subscriber::registry()
            .with(lines)
            .with(targets)
            .try_init();
    });
}
