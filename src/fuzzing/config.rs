//! A configuration is refused with a reason, or gives settings and command lines that can be used.

use std::ffi::CString;

use serde_json::{Value, json};

use super::bytes::Choices;
use crate::core::event::{ChildId, SpawnSpec};
use crate::driver::config::Config;

/// A configuration that is right, with changes: each names a value by its place, and says what it
/// becomes. An input that begins with `{` is the text of the configuration itself.
pub(super) fn check(data: &[u8]) {
    if data.first() == Some(&b'{') {
        if let Ok(text) = std::str::from_utf8(data) {
            try_one(text);
        }
        return;
    }
    let mut config = right();
    let mut choices = Choices::new(data);
    for _ in 0..1 + choices.below(4) {
        let place = choices.byte();
        let new = value(&mut choices);
        change(&mut config, usize::from(place), new);
    }
    try_one(&config.to_string());
}

fn right() -> Value {
    let file = std::env::current_exe().unwrap();
    let file = file.to_str().unwrap();
    json!({
        "execPath": file, "execArgv": ["--x"], "env": { "A": "b=c", "NODE_CHANNEL_FD": "4" },
        "appWorkerFile": file, "agentWorkerFile": file, "optionsJson": "{\"x\":1}",
        "workers": 2, "port": 7001, "protocol": "http", "host": "h", "stickyPort": 1,
        "stickyKey": { "by": "cookie", "name": "id", "trust": ["10.0.0.0/8"], "headTimeoutMs": 1 },
        "debugPort": 2, "production": true, "isDebug": false, "agentInspectPort": 3,
        "appInspectBase": 4, "shareListeners": false, "threads": false, "appCloseTimeoutMs": 5000,
        "agentCloseTimeoutMs": 1000,
        "watchdog": { "timeoutMs": 1000, "bootTimeoutMs": 1, "intervalMs": 1, "kills": true,
            "stack": true },
        "restart": { "stableTimeMs": 10_000, "maxDelayMs": 30_000, "intensityLimit": 60,
            "intensityPeriodMs": 60_000, "giveUpMs": 1 },
        "preloadFile": file,
        "drain": { "timeoutMs": 3000, "websocketTimeoutMs": 9000 },
        "hold": { "timeoutMs": 10_000, "connections": 1024 },
        "limits": { "lineBytes": 1024, "outboxBytes": 2048, "stallTimeoutMs": 1000, "listeners": 3 }
    })
}

fn value(choices: &mut Choices<'_>) -> Value {
    let number = u64::from(choices.byte());
    match choices.below(12) {
        0 => Value::Null,
        1 => (number % 2 == 0).into(),
        2 => number.into(),
        3 => (number * 257).into(),
        4 => u64::MAX.into(),
        5 => (-1 - i64::from(choices.byte())).into(),
        6 => json!(0.5),
        7 => json!([]),
        8 => json!({ "é": number }),
        9 => json!(["10.0.0.0/33", "::/0", "\0"]),
        10 => json!({}),
        _ => {
            let count = choices.below(16);
            String::from_utf8_lossy(choices.take(count)).into()
        }
    }
}

/// Replaces the n-th value, counted in depth, or with an even number takes it away.
fn change(config: &mut Value, place: usize, new: Value) {
    let mut left = place / 2;
    let places: usize = count(config);
    left %= places;
    replace(config, &mut left, &mut Some(new).filter(|_| place % 2 == 1));
}

fn count(value: &Value) -> usize {
    let Value::Object(members) = value else {
        return 0;
    };
    members.values().map(|member| 1 + count(member)).sum()
}

fn replace(value: &mut Value, left: &mut usize, new: &mut Option<Value>) -> bool {
    let Value::Object(members) = value else {
        return false;
    };
    let keys: Vec<_> = members.keys().cloned().collect();
    for key in keys {
        if *left == 0 {
            match new.take() {
                Some(new) => drop(members.insert(key, new)),
                None => drop(members.remove(&key)),
            }
            return true;
        }
        *left -= 1;
        if members
            .get_mut(&key)
            .is_some_and(|member| replace(member, left, new))
        {
            return true;
        }
    }
    false
}

fn try_one(text: &str) {
    let (settings, launch) = match Config::parse(text) {
        Ok(both) => both,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(settings.workers >= 1 && settings.hold.connections >= 1);
    assert!(settings.limits.line_bytes >= 1 && settings.limits.listeners >= 1);
    assert!(settings.limits.low_water() < settings.limits.outbox_bytes);
    for (child, slot) in [(ChildId::Agent(1), None), (ChildId::App(1), Some(0))] {
        let line = launch.command_line(&SpawnSpec {
            child,
            inspect_port: Some(1),
            slot,
            slots: settings.workers,
            waits: false,
        });
        assert!(line.argv.len() >= 4);
        // Of equal names the first counts.
        let is_channel = |entry: &&CString| entry.to_bytes().starts_with(b"NODE_CHANNEL_FD=");
        let channels: Vec<_> = line.env.iter().filter(is_channel).collect();
        assert_eq!(channels, [c"NODE_CHANNEL_FD=3"]);
    }
}
