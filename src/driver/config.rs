//! What JavaScript gives at birth, as JSON, and the two things made of it: the
//! [`Settings`] of the core and the [`Launch`] of the children.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::ffi::CString;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::control::ControlSettings;
use super::farewell::Farewell;
use crate::core::client_key::{ClientKey, KeyBy};
use crate::core::event::{
    ChildId, ChildLimits, DrainLimits, HoldLimits, PrestartSettings, RestartSettings,
    ServiceSettings, Settings, SpawnSpec, WatchdogSettings,
};
use crate::core::trust::{Network, Trust};
use crate::error::ConfigError;
use crate::sys::guardian;
use crate::sys::spawn::{CHANNEL_FD, GATE_FD};

/// The configuration as `lib/master.js` writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The `node` binary (`process.execPath`).
    exec_path: String,
    /// Its options (`process.execArgv`).
    exec_argv: Vec<String>,
    /// The environment of the children. It comes from JavaScript, for `environ` must not be
    /// read on a thread while Node may change it.
    env: HashMap<String, String>,
    app_worker_file: String,
    agent_worker_file: String,
    /// The argument of every worker script.
    options_json: String,
    workers: u32,
    port: Option<u16>,
    protocol: String,
    host: Option<String>,
    sticky_port: Option<u16>,
    sticky_key: Option<StickyKey>,
    debug_port: Option<u16>,
    production: bool,
    is_debug: bool,
    agent_inspect_port: Option<u16>,
    app_inspect_base: Option<u16>,
    share_listeners: bool,
    /// Children are threads, made by JavaScript; nothing of the above is used to start them.
    #[serde(default)]
    threads: bool,
    app_close_timeout_ms: u64,
    agent_close_timeout_ms: u64,
    restart: RestartConfig,
    watchdog: Option<WatchdogConfig>,
    #[serde(default)]
    prestart: PrestartConfig,
    /// Loaded in app workers before their script; null where workers are not drained.
    preload_file: Option<String>,
    drain: Option<DrainConfig>,
    hold: HoldConfig,
    limits: Option<LimitsConfig>,
    /// Where operators reach the master; null where they do not.
    #[serde(default)]
    control: Option<ControlConfig>,
    /// How long the JavaScript of the master may take to end its process when everything has ended; null
    /// where the process is not the master's.
    #[serde(default)]
    exit_limit_ms: Option<u64>,
    /// The lines of the log are JSON.
    #[serde(default)]
    json_log: bool,
    /// The service manager that wants to be told how the cluster stands; null without one.
    #[serde(default)]
    service: Option<ServiceConfig>,
    /// What the process was started with to listen by.
    #[serde(default)]
    inherited: Vec<InheritedDescriptor>,
}

/// A descriptor that should be a listening socket.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InheritedDescriptor {
    pub(super) fd: i32,
    pub(super) name: Option<String>,
}

/// A service manager; see [`ServiceSettings`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceConfig {
    /// Where it listens: `NOTIFY_SOCKET`.
    socket: String,
    /// The longest time between two signs of life, in µs; null where it wants none.
    watchdog_us: Option<u64>,
}

/// Where operators reach the master; see [`ControlSettings`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ControlConfig {
    path: String,
    tcp: Option<String>,
    base_dir: String,
}

impl ControlConfig {
    fn into_settings(self) -> Result<ControlSettings, ConfigError> {
        let parse = |text: String| text.parse().map_err(|_| ConfigError::BadAddress(text));
        Ok(ControlSettings {
            path: self.path.into(),
            tcp: self.tcp.map(parse).transpose()?,
            base_dir: self.base_dir,
        })
    }
}

/// When what has died is started again; see [`RestartSettings`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RestartConfig {
    stable_time_ms: u64,
    max_delay_ms: u64,
    intensity_limit: u32,
    intensity_period_ms: u64,
    give_up_ms: Option<u64>,
}

/// How hung children are found; see [`WatchdogSettings`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WatchdogConfig {
    timeout_ms: u64,
    boot_timeout_ms: Option<u64>,
    interval_ms: u64,
    kills: bool,
    #[serde(default)]
    stack: bool,
}

/// Which app workers are started ahead of time; see [`PrestartSettings`].
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PrestartConfig {
    at_start: bool,
    spares: u32,
}

impl PrestartConfig {
    fn is_wanted(&self) -> bool {
        self.at_start || self.spares > 0
    }

    fn into_settings(self) -> PrestartSettings {
        PrestartSettings {
            at_start: self.at_start,
            spares: self.spares,
        }
    }
}

impl RestartConfig {
    fn into_settings(self) -> RestartSettings {
        RestartSettings {
            stable_time: Duration::from_millis(self.stable_time_ms),
            max_delay: Duration::from_millis(self.max_delay_ms),
            intensity_limit: self.intensity_limit,
            intensity_period: Duration::from_millis(self.intensity_period_ms),
            give_up: self.give_up_ms.map(Duration::from_millis),
            seed: random(),
        }
    }
}

impl WatchdogConfig {
    fn into_settings(self) -> WatchdogSettings {
        WatchdogSettings {
            timeout: Duration::from_millis(self.timeout_ms),
            boot_timeout: self.boot_timeout_ms.map(Duration::from_millis),
            interval: Duration::from_millis(self.interval_ms),
            kills: self.kills,
            stack: self.stack,
        }
    }
}

/// What names a client in sticky mode. The default of everything is JavaScript's to know.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StickyKey {
    by: StickyBy,
    /// Of the header, cookie or query parameter.
    name: Option<String>,
    trust: Vec<String>,
    head_timeout_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StickyBy {
    Address,
    Forwarded,
    Cookie,
    Query,
    ProxyProtocol,
}

impl StickyKey {
    fn read(self) -> Result<ClientKey, ConfigError> {
        let mut networks = Vec::with_capacity(self.trust.len());
        for text in self.trust {
            let network = text.parse::<Network>();
            networks.push(network.map_err(|()| ConfigError::BadNetwork(text))?);
        }
        let by = match (self.by, self.name) {
            (StickyBy::Address, _) => KeyBy::Address,
            (StickyBy::Forwarded, header) => KeyBy::Forwarded(header),
            (StickyBy::ProxyProtocol, _) => KeyBy::ProxyProtocol,
            (StickyBy::Cookie, Some(name)) => KeyBy::Cookie(name),
            (StickyBy::Query, Some(name)) => KeyBy::Query(name),
            (StickyBy::Cookie | StickyBy::Query, None) => return Err(ConfigError::NoKeyName),
        };
        Ok(ClientKey {
            by,
            trust: Trust::new(networks),
            head_timeout: Duration::from_millis(self.head_timeout_ms),
        })
    }
}

/// How long app workers may drain.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DrainConfig {
    timeout_ms: u64,
    websocket_timeout_ms: u64,
}

/// How many connections may wait for a worker, and for how long.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HoldConfig {
    timeout_ms: u64,
    connections: usize,
}

/// What each child may use of the master; see [`ChildLimits`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LimitsConfig {
    line_bytes: usize,
    outbox_bytes: usize,
    stall_timeout_ms: u64,
    listeners: usize,
}

impl LimitsConfig {
    fn into_settings(self) -> ChildLimits {
        ChildLimits {
            line_bytes: self.line_bytes.max(1),
            outbox_bytes: self.outbox_bytes.max(1),
            stall_timeout: Duration::from_millis(self.stall_timeout_ms),
            listeners: self.listeners.max(1),
        }
    }
}

/// Variables that the master gives its children: what a parent has left of them in its own environment
/// would come before them, for of two with one name the first counts. And those of a service
/// manager, which are meant for the master: a child would speak for it, or take its channel for a listening socket.
const OWN_VARIABLES: [&str; 14] = [
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NODE_UNIQUE_ID",
    "CFORK_WORKER_INDEX",
    "CFORK_WORKER_COUNT",
    "EGG_CLUSTER_RS_WORKER",
    "EGG_CLUSTER_RS_GATE",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
];

/// Must be that of `lib/worker_preload.js`.
const PRELOAD_VARIABLE: &str = "EGG_CLUSTER_RS_WORKER=";
/// Likewise: the descriptor at which the preload waits.
const GATE_VARIABLE: &str = "EGG_CLUSTER_RS_GATE=";

/// Everything that the children have in common.
#[derive(Debug)]
pub struct Launch {
    program: CString,
    exec_argv: Vec<CString>,
    env: Vec<CString>,
    app_script: CString,
    agent_script: CString,
    options: CString,
    preload: Option<CString>,
    control: Option<ControlSettings>,
    farewell: Option<Farewell>,
    notify_socket: Option<String>,
    inherited: Vec<InheritedDescriptor>,
}

/// A child's argument list and environment.
#[derive(Debug)]
pub struct CommandLine {
    /// The arguments, the program's name first.
    pub argv: Vec<CString>,
    /// `NAME=value` each.
    pub env: Vec<CString>,
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// Where the text is not a configuration, or holds what no child can be given.
    pub fn parse(json: &str) -> Result<(Settings, Launch), ConfigError> {
        let mut config: Self = serde_json::from_str(json)?;
        if config.workers == 0 {
            return Err(ConfigError::NoWorkers);
        }
        let files = [
            &config.exec_path,
            &config.app_worker_file,
            &config.agent_worker_file,
        ];
        for file in files.into_iter().chain(&config.preload_file) {
            if !Path::new(file).is_file() {
                return Err(ConfigError::MissingFile(file.clone()));
            }
        }
        if config.preload_file.is_none() && config.prestart.is_wanted() {
            return Err(ConfigError::NoPreload);
        }
        let mut launch = config.launch()?;
        let control = config.control.take();
        launch.inherited = std::mem::take(&mut config.inherited);
        launch.notify_socket = config
            .service
            .as_mut()
            .map(|it| std::mem::take(&mut it.socket));
        launch.control = control.map(ControlConfig::into_settings).transpose()?;
        Ok((config.into_settings()?, launch))
    }

    fn launch(&self) -> Result<Launch, ConfigError> {
        let variables = self
            .env
            .iter()
            .filter(|(name, _)| !OWN_VARIABLES.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={value}"));
        let channel = format!("NODE_CHANNEL_FD={CHANNEL_FD}");
        let mode = "NODE_CHANNEL_SERIALIZATION_MODE=json".to_owned();
        let mark = format!("{}={:016x}", guardian::MARK, random());
        Ok(Launch {
            program: c_string(&self.exec_path)?,
            exec_argv: self
                .exec_argv
                .iter()
                .map(|arg| c_string(arg))
                .collect::<Result<_, _>>()?,
            env: variables
                .chain([channel, mode, mark])
                .map(|variable| c_string(&variable))
                .collect::<Result<_, _>>()?,
            app_script: c_string(&self.app_worker_file)?,
            agent_script: c_string(&self.agent_worker_file)?,
            options: c_string(&self.options_json)?,
            preload: self.preload_file.as_deref().map(c_string).transpose()?,
            control: None,
            farewell: self.exit_limit_ms.map(|limit| Farewell {
                limit: Duration::from_millis(limit),
                json: self.json_log,
            }),
            notify_socket: None,
            inherited: Vec::new(),
        })
    }

    fn into_settings(self) -> Result<Settings, ConfigError> {
        let client_key = self.sticky_key.map(StickyKey::read).transpose()?;
        Ok(Settings {
            master_pid: i32::try_from(std::process::id()).unwrap_or_default(),
            workers: self.workers,
            port: self.port,
            protocol: self.protocol,
            host: self.host.filter(|host| !host.is_empty()),
            sticky_port: self.sticky_port,
            client_key: client_key.unwrap_or_default(),
            debug_port: self.debug_port,
            production: self.production,
            options: Bytes::from(self.options_json),
            is_debug: self.is_debug,
            agent_inspect_port: self.agent_inspect_port,
            app_inspect_base: self.app_inspect_base,
            share_listeners: self.share_listeners,
            threads: self.threads,
            restart: self.restart.into_settings(),
            watchdog: self.watchdog.map(WatchdogConfig::into_settings),
            prestart: self.prestart.into_settings(),
            app_close_timeout: Duration::from_millis(self.app_close_timeout_ms),
            agent_close_timeout: Duration::from_millis(self.agent_close_timeout_ms),
            drain: self.drain.map(|drain| DrainLimits {
                timeout: Duration::from_millis(drain.timeout_ms),
                websocket_timeout: Duration::from_millis(drain.websocket_timeout_ms),
            }),
            hold: HoldLimits {
                timeout: Duration::from_millis(self.hold.timeout_ms),
                connections: self.hold.connections.max(1),
            },
            limits: self
                .limits
                .map_or_else(ChildLimits::default, LimitsConfig::into_settings),
            service: self.service.map(|service| ServiceSettings {
                watchdog: service.watchdog_us.map(Duration::from_micros),
            }),
        })
    }
}

impl Launch {
    /// Where operators are to reach the master. To be asked once.
    pub(super) fn take_control(&mut self) -> Option<ControlSettings> {
        self.control.take()
    }

    /// What ends a process whose JavaScript does not end it.
    pub(super) fn farewell(&self) -> Option<Farewell> {
        self.farewell
    }

    /// Where the service manager listens. To be asked once.
    pub(super) fn take_notify_socket(&mut self) -> Option<String> {
        self.notify_socket.take()
    }

    /// What the process was started with to listen by. To be asked once.
    pub(super) fn take_inherited(&mut self) -> Vec<InheritedDescriptor> {
        std::mem::take(&mut self.inherited)
    }

    /// The program of every child.
    pub fn program(&self) -> &CString {
        &self.program
    }

    /// What the environments of all children have in common.
    pub fn env(&self) -> &[CString] {
        &self.env
    }

    /// Argument list and environment of one child.
    pub fn command_line(&self, spec: &SpawnSpec) -> CommandLine {
        let mut argv = vec![self.program.clone()];
        argv.extend(self.exec_argv.iter().cloned());
        argv.extend(
            spec.inspect_port
                .map(|port| number("--inspect-port=", port.into())),
        );
        let mut env = self.env.clone();
        match spec.child {
            ChildId::Agent(_) => argv.push(self.agent_script.clone()),
            ChildId::App(id) => {
                if let Some(preload) = &self.preload {
                    argv.extend([c"--require".to_owned(), preload.clone()]);
                    // The preload acts only in a child of the process that is named here.
                    env.push(number(PRELOAD_VARIABLE, std::process::id()));
                }
                if spec.waits {
                    env.push(number(GATE_VARIABLE, GATE_FD.unsigned_abs()));
                }
                argv.push(self.app_script.clone());
                // Its presence is what makes `require('cluster')` a worker.
                env.push(number("NODE_UNIQUE_ID=", id));
                env.extend(spec.slot.map(|slot| number("CFORK_WORKER_INDEX=", slot)));
                env.push(number("CFORK_WORKER_COUNT=", spec.slots));
            }
        }
        argv.push(self.options.clone());
        CommandLine { argv, env }
    }
}

/// The standard library gives each process, and each of these, other keys.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn c_string(text: &str) -> Result<CString, ConfigError> {
    CString::new(text).map_err(|_| ConfigError::NulByte(text.replace('\0', "\\0")))
}

/// A text without a zero byte needs no check.
fn number(prefix: &str, value: u32) -> CString {
    CString::new(format!("{prefix}{value}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let file = std::env::current_exe()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let mut json = serde_json::json!({
            "execPath": file, "execArgv": ["--max-old-space-size=64"], "env": { "A": "b=c" },
            "appWorkerFile": file, "agentWorkerFile": file, "optionsJson": "{\"x\":1}",
            "workers": 2, "port": 7001, "protocol": "http", "host": "", "stickyPort": null,
            "debugPort": null, "production": true, "isDebug": false, "agentInspectPort": null,
            "appInspectBase": null, "shareListeners": false, "appCloseTimeoutMs": 5000,
            "agentCloseTimeoutMs": 1000, "watchdog": null,
            "restart": { "stableTimeMs": 10_000, "maxDelayMs": 30_000, "intensityLimit": 60,
                "intensityPeriodMs": 60_000, "giveUpMs": null },
            "agentCloseTimeoutMs": 1000, "preloadFile": null,
            "drain": { "timeoutMs": 3000, "websocketTimeoutMs": 9000 },
            "hold": { "timeoutMs": 10_000, "connections": 1024 }
        });
        change(&mut json);
        json.to_string()
    }

    fn texts(list: &[CString]) -> Vec<&str> {
        list.iter().map(|text| text.to_str().unwrap()).collect()
    }

    #[test]
    fn an_app_worker_is_a_cluster_worker_with_its_slot() {
        let (settings, launch) = Config::parse(&config(|_| {})).unwrap();
        assert_eq!(settings.host, None);
        assert_eq!(settings.agent_close_timeout, Duration::from_secs(1));
        let child = ChildId::App(7);
        let spec = SpawnSpec {
            child,
            inspect_port: Some(9230),
            slot: Some(1),
            slots: 2,
            waits: false,
        };
        let line = launch.command_line(&spec);
        let argv = texts(&line.argv);
        assert_eq!(
            argv[1..3],
            ["--max-old-space-size=64", "--inspect-port=9230"]
        );
        assert_eq!(argv[4..], [r#"{"x":1}"#]);
        let env = texts(&line.env);
        for variable in [
            "A=b=c",
            "NODE_CHANNEL_FD=3",
            "NODE_UNIQUE_ID=7",
            "CFORK_WORKER_INDEX=1",
            "CFORK_WORKER_COUNT=2",
        ] {
            assert!(env.contains(&variable), "{variable} in {env:?}");
        }
    }

    #[test]
    fn one_that_waits_is_told_where_and_by_whose_code() {
        let json = config(|json| {
            json["prestart"] = serde_json::json!({ "atStart": true, "spares": 2 });
        });
        assert!(matches!(Config::parse(&json), Err(ConfigError::NoPreload)));
        let json = config(|json| {
            json["prestart"] = serde_json::json!({ "atStart": true, "spares": 2 });
            json["preloadFile"] = json["execPath"].clone();
            json["env"]["EGG_CLUSTER_RS_GATE"] = "9".into();
        });
        let (settings, launch) = Config::parse(&json).unwrap();
        assert_eq!(
            (settings.prestart.at_start, settings.prestart.spares),
            (true, 2)
        );
        for (waits, gates) in [(true, vec!["EGG_CLUSTER_RS_GATE=4"]), (false, vec![])] {
            let line = launch.command_line(&SpawnSpec {
                child: ChildId::App(1),
                inspect_port: None,
                slot: None,
                slots: 1,
                waits,
            });
            let mut env = texts(&line.env);
            env.retain(|variable| variable.starts_with("EGG_CLUSTER_RS_GATE"));
            assert_eq!(env, gates);
        }
    }

    fn key(by: &str, network: &str) -> serde_json::Value {
        serde_json::json!({ "by": by, "name": null, "trust": [network], "headTimeoutMs": 1500 })
    }

    #[test]
    fn what_names_a_client_in_sticky_mode() {
        let (settings, _) = Config::parse(&config(|_| {})).unwrap();
        assert_eq!(settings.client_key.by, KeyBy::Address);
        for (by, expected) in [
            ("address", KeyBy::Address),
            ("forwarded", KeyBy::Forwarded(None)),
            ("proxy-protocol", KeyBy::ProxyProtocol),
        ] {
            let json = config(|json| json["stickyKey"] = key(by, "10.0.0.0/8"));
            let client_key = Config::parse(&json).unwrap().0.client_key;
            assert_eq!(client_key.by, expected);
            assert_eq!(client_key.head_timeout, Duration::from_millis(1500));
            assert!(client_key.trust.has("10.1.1.1".parse().unwrap()));
        }
        let named = config(|json| {
            json["stickyKey"] = key("cookie", "::1");
            json["stickyKey"]["name"] = "id".into();
        });
        let by = Config::parse(&named).unwrap().0.client_key.by;
        assert_eq!(by, KeyBy::Cookie("id".into()));
    }

    #[test]
    fn the_preload_goes_to_app_workers_only() {
        let (settings, launch) = Config::parse(&config(|json| {
            json["preloadFile"] = json["execPath"].clone()
        }))
        .unwrap();
        let limits = settings.drain.unwrap();
        assert_eq!(limits.timeout, Duration::from_secs(3));
        assert_eq!(limits.websocket_timeout, Duration::from_secs(9));
        let line = |child, slot| {
            launch.command_line(&SpawnSpec {
                child,
                inspect_port: None,
                slot,
                slots: 2,
                waits: false,
            })
        };
        let app = line(ChildId::App(1), Some(0));
        assert_eq!(texts(&app.argv)[2], "--require");
        assert_eq!(texts(&app.argv)[3], launch.program.to_str().unwrap());
        assert_eq!(app.argv.len(), 6);
        let variable = format!("{PRELOAD_VARIABLE}{}", std::process::id());
        assert!(texts(&app.env).contains(&variable.as_str()));
        let agent = line(ChildId::Agent(1), None);
        assert_eq!(agent.argv.len(), 4);
        assert!(
            !texts(&agent.env)
                .iter()
                .any(|text| text.starts_with(PRELOAD_VARIABLE))
        );
    }

    #[test]
    fn variables_of_a_cluster_around_the_master_are_not_passed_on() {
        let (_, launch) = Config::parse(&config(|json| {
            for name in OWN_VARIABLES {
                json["env"][name] = "9".into();
            }
        }))
        .unwrap();
        let spec = |child, slot| SpawnSpec {
            child,
            inspect_port: None,
            slot,
            slots: 2,
            waits: false,
        };
        for spec in [
            spec(ChildId::App(1), Some(0)),
            spec(ChildId::Agent(1), None),
        ] {
            let line = launch.command_line(&spec);
            let foreign = |text: &&str| text.ends_with("=9");
            assert_eq!(texts(&line.env).into_iter().find(foreign), None);
        }
    }

    #[test]
    fn limits_are_those_given_and_else_the_defaults() {
        let (settings, _) = Config::parse(&config(|_| {})).unwrap();
        assert_eq!(settings.limits, ChildLimits::default());
        let given = config(|json| {
            json["limits"] = serde_json::json!({ "lineBytes": 9, "outboxBytes": 8,
                "stallTimeoutMs": 7, "listeners": 0 });
        });
        let expected = ChildLimits {
            line_bytes: 9,
            outbox_bytes: 8,
            stall_timeout: Duration::from_millis(7),
            listeners: 1,
        };
        assert_eq!(Config::parse(&given).unwrap().0.limits, expected);
    }

    #[test]
    fn the_agent_is_no_cluster_worker() {
        let (_, launch) = Config::parse(&config(|_| {})).unwrap();
        let spec = SpawnSpec {
            child: ChildId::Agent(1),
            inspect_port: None,
            slot: None,
            slots: 2,
            waits: false,
        };
        let line = launch.command_line(&spec);
        assert!(
            !texts(&line.env)
                .iter()
                .any(|variable| variable.starts_with("NODE_UNIQUE_ID"))
        );
    }

    #[test]
    fn what_no_child_can_be_given_is_refused() {
        let cases = [
            (config(|json| json["workers"] = 0.into()), "workers"),
            (
                config(|json| json["execPath"] = "/nowhere/node".into()),
                "/nowhere/node",
            ),
            (config(|json| json["env"]["B"] = "a\0b".into()), "zero byte"),
            (
                config(|json| json["preloadFile"] = "/nowhere/preload.js".into()),
                "/nowhere/preload.js",
            ),
            (config(|json| json["surprise"] = 1.into()), "surprise"),
            (config(|json| json["port"] = 70_000.into()), "70000"),
            (
                config(|json| json["stickyKey"] = key("cookie", "::/0")),
                "name",
            ),
            (
                config(|json| json["stickyKey"] = key("moon", "::/0")),
                "moon",
            ),
            (
                config(|json| json["stickyKey"] = key("forwarded", "10/8")),
                "10/8",
            ),
            ("[]".to_owned(), "configuration"),
        ];
        for (json, part) in cases {
            let error = Config::parse(&json).unwrap_err().to_string();
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
