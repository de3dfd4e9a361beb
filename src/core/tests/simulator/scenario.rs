//! What a run is like: the settings of the cluster, and how bad its world is.

use std::time::Duration;

use bytes::Bytes;

use super::random::Random;
use crate::core::client_key::{ClientKey, KeyBy};
use crate::core::event::{
    DrainLimits, HoldLimits, PrestartSettings, RestartSettings, ServiceSettings, Settings,
    WatchdogSettings,
};
use crate::core::tests::{MASTER, settings};
use crate::core::trust::Trust;
use crate::ipc::message::{Address, Family};

/// The port of the application.
pub const PUBLIC: u16 = 7001;
/// The port that workers pretend to listen on in sticky mode.
pub const STICKY: u16 = 7002;
/// Another port that some workers listen on.
pub const SECOND: u16 = 7003;
/// The path of the unix socket that may be there instead.
pub const PATH: &str = "/run/sim.sock";

pub struct Scenario {
    pub settings: Settings,
    /// The system answers at once, within the output that asks, as the driver does it.
    pub prompt: bool,
    /// Steps before the end is asked for.
    pub steps: u64,
    /// The world becomes kind before the end: then everything must come right by itself.
    pub is_kind_at_the_end: bool,
    pub hazards: Hazards,
    /// Workers, or the agent, are threads, their second port is of another kind, proxies speak for
    /// clients, channels cannot be written. Other runs are as they were before there was this.
    pub is_wide: bool,
    /// What the second port is.
    pub second: Second,
}

/// Kinds of the second port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    Tcp,
    Udp,
    Pipe,
}

impl Second {
    pub fn address(self) -> Address {
        let (family, address, port) = match self {
            Self::Tcp => (Family::Tcp4, None, i64::from(SECOND)),
            Self::Udp => (Family::Udp4, Some("127.0.0.1".into()), i64::from(SECOND)),
            Self::Pipe => (Family::Pipe, Some(PATH.into()), -1),
        };
        Address {
            family,
            address,
            port: Some(port),
            fd: None,
        }
    }
}

/// How often something goes wrong, in a thousand cases or actions.
#[derive(Default)]
pub struct Hazards {
    pub crash: u64,
    pub agent_crash: u64,
    pub hang: u64,
    pub cut: u64,
    pub leave: u64,
    pub stall: u64,
    pub reload: u64,
    pub garbage: u64,
    pub starve: u64,
    pub close: u64,
    pub spawn_failure: u64,
    pub listen_failure: u64,
    pub boot_crash: u64,
    pub never_ready: u64,
    /// Something happens to a new worker of a reload in its first second.
    pub fickle: u64,
    pub deaf: u64,
    pub refuse: u64,
    pub nack: u64,
    pub late: u64,
    pub mute: u64,
    pub twice: u64,
    pub descendants: u64,
    pub vanish: u64,
    /// The system is too short of something to let a channel be written; in wide runs only.
    pub short: u64,
}

impl Scenario {
    pub fn draw(seed: u64, random: &mut Random, crowd: bool, is_wide: bool) -> Self {
        let mut scenario = Self::draw_narrow(seed, random, crowd);
        if is_wide {
            scenario.widen(random);
        }
        scenario
    }

    fn widen(&mut self, random: &mut Random) {
        self.is_wide = true;
        self.second = random.pick(&[Second::Tcp, Second::Udp, Second::Udp, Second::Pipe]);
        self.hazards.short = random.pick(&[0, 5, 20]);
        let settings = &mut self.settings;
        if settings.sticky_port.is_some() && random.chance(600) {
            settings.client_key.by = random.pick_clone(&[
                KeyBy::ProxyProtocol,
                KeyBy::ProxyProtocol,
                KeyBy::Forwarded(None),
            ]);
            let proxies = "10.0.0.0/8".parse().expect("a network");
            settings.client_key.trust = Trust::new(vec![proxies]);
        } else if settings.sticky_port.is_none() && random.chance(250) {
            // As JavaScript configures them.
            settings.threads = true;
            settings.drain = None;
            settings.watchdog = None;
            settings.share_listeners = false;
            settings.is_debug = false;
            self.prompt = false;
            self.hazards.descendants = 0;
            self.hazards.short = 0;
            // They have no channel that could be closed.
            self.hazards.cut = 0;
        }
    }

    fn draw_narrow(seed: u64, random: &mut Random, crowd: bool) -> Self {
        let workers = if crowd {
            random.pick(&[200, 500, 1000, 2000])
        } else {
            random.pick(&[1, 1, 2, 2, 2, 3, 3, 4])
        };
        let steps = if crowd {
            4000
        } else {
            // Most runs are short: the beginning and the end are where much happens.
            random.pick(&[5, 20, 60, 150, 300, 600, 1500, 4000])
        };
        let violence = random.pick(&[1, 4, 4, 12]);
        Self {
            settings: Settings {
                prestart: prestart_of(seed),
                service: service_of(seed),
                ..draw_settings(random, workers)
            },
            prompt: random.chance(500),
            steps,
            is_kind_at_the_end: random.chance(500),
            hazards: Hazards::draw(random, if crowd { 1 } else { violence }),
            is_wide: false,
            second: Second::Tcp,
        }
    }
}

impl Hazards {
    fn draw(random: &mut Random, violence: u64) -> Self {
        // Half of all dangers are absent, so that the others meet a world that goes on.
        let mut some = |most: u64| {
            if random.chance(500) {
                0
            } else {
                1 + random.below(most * violence)
            }
        };
        Self {
            crash: some(4),
            agent_crash: some(3),
            hang: some(3),
            cut: some(3),
            leave: some(3),
            stall: some(3),
            reload: some(5),
            garbage: some(5),
            starve: some(3),
            close: some(4) / 4,
            spawn_failure: some(10),
            listen_failure: some(2),
            boot_crash: some(20),
            never_ready: some(8),
            deaf: some(40),
            refuse: some(40),
            nack: some(20),
            late: some(40),
            mute: some(10),
            twice: some(20),
            descendants: some(50),
            vanish: some(20),
            fickle: some(80),
            short: 0,
        }
    }
}

/// By the seed itself, and not drawn: so the runs of other seeds stay what they were.
fn prestart_of(seed: u64) -> PrestartSettings {
    let (at_start, spares) = match seed % 5 {
        0 => (true, 0),
        2 => (true, 2),
        _ => (false, u32::from(seed % 7 == 2)),
    };
    PrestartSettings { at_start, spares }
}

/// Likewise.
fn service_of(seed: u64) -> Option<ServiceSettings> {
    let watchdog = seed.is_multiple_of(2).then_some(Duration::from_secs(20));
    (seed % 3 == 1).then_some(ServiceSettings { watchdog })
}

fn draw_settings(random: &mut Random, workers: u32) -> Settings {
    let seconds = Duration::from_secs;
    let way = random.below(10);
    let sticky = (4..8).contains(&way);
    let by = if (6..8).contains(&way) {
        KeyBy::Cookie("id".into())
    } else {
        KeyBy::Address
    };
    Settings {
        master_pid: MASTER,
        port: Some(PUBLIC),
        sticky_port: sticky.then_some(STICKY),
        client_key: ClientKey {
            by,
            head_timeout: seconds(2),
            ..ClientKey::default()
        },
        production: random.chance(800),
        options: Bytes::from_static(b"{}"),
        is_debug: random.chance(50),
        share_listeners: way == 8,
        restart: RestartSettings {
            stable_time: seconds(10),
            max_delay: seconds(30),
            intensity_limit: random.pick(&[3, 20, 60]),
            intensity_period: seconds(60),
            give_up: random.pick(&[None, Some(seconds(60))]),
            seed: random.next(),
        },
        watchdog: random.chance(700).then(|| WatchdogSettings {
            timeout: random.pick(&[seconds(6), seconds(30)]),
            boot_timeout: random.pick(&[None, Some(seconds(20))]),
            interval: random.pick(&[seconds(1), seconds(5)]),
            kills: random.chance(800),
            stack: random.chance(500),
        }),
        drain: random.chance(700).then(|| DrainLimits {
            timeout: random.pick(&[Duration::ZERO, seconds(4)]),
            websocket_timeout: random.pick(&[Duration::ZERO, seconds(10)]),
        }),
        hold: HoldLimits {
            timeout: random.pick(&[seconds(10), seconds(10), seconds(1), seconds(40)]),
            connections: random.pick(&[1024, 1024, 1, 3]),
        },
        ..settings(workers)
    }
}
