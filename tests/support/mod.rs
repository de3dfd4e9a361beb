//! What the tests of the driver have in common.

#[allow(dead_code, reason = "not every test file needs all of it")]
pub mod cluster;

use std::path::PathBuf;
use std::process::Command;

use egg_cluster_rs::core::event::Settings;
use egg_cluster_rs::driver::config::{Config, Launch};
use serde_json::{Value, json};

/// A configuration as JavaScript would write it, with these members of it given or changed.
pub fn config(members: Value) -> (Settings, Launch) {
    let mut config = json!({
        "execArgv": [], "env": {}, "optionsJson": "{}", "workers": 1, "port": 7001,
        "protocol": "http", "host": null, "stickyPort": null, "debugPort": null,
        "production": true, "isDebug": false, "agentInspectPort": null, "appInspectBase": null,
        "shareListeners": false, "appCloseTimeoutMs": 5000, "agentCloseTimeoutMs": 5000,
        "restart": { "stableTimeMs": 10_000, "maxDelayMs": 30_000, "intensityLimit": 60,
            "intensityPeriodMs": 60_000, "giveUpMs": 60_000 },
        "watchdog": null,
        "hold": { "timeoutMs": 10_000, "connections": 1024 }
    });
    let Value::Object(members) = members else {
        panic!("the members of a configuration are an object")
    };
    for (name, value) in members {
        config[name] = value;
    }
    Config::parse(&config.to_string()).unwrap()
}

/// The `node` of the path.
#[allow(dead_code, reason = "threads are played without one")]
pub fn node() -> PathBuf {
    let output = Command::new("node")
        .args(["-p", "process.execPath"])
        .output()
        .unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
