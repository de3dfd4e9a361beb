//! What a service manager is told, and when.

use super::*;

fn managed(workers: u32, watchdog: Option<Duration>) -> Settings {
    Settings {
        service: Some(ServiceSettings { watchdog }),
        ..settings(workers)
    }
}

impl World {
    /// The states that were told, in order.
    fn states(&self) -> Vec<ServiceState> {
        let change = |notice: &Notice| match notice {
            Notice::State { change, .. } => *change,
            Notice::Alive => None,
        };
        self.notices.iter().filter_map(change).collect()
    }

    /// The words that were told last.
    fn status(&self) -> &str {
        let status = |notice: &'_ Notice| matches!(notice, Notice::State { .. });
        match self.notices.iter().rfind(|notice| status(notice)) {
            Some(Notice::State { status, .. }) => status,
            _ => "",
        }
    }

    fn last_extension(&self) -> Option<Duration> {
        match self.notices.last() {
            Some(Notice::State { extend, .. }) => *extend,
            _ => None,
        }
    }

    fn signs_of_life(&self) -> usize {
        let is_sign = |notice: &&Notice| **notice == Notice::Alive;
        self.notices.iter().filter(is_sign).count()
    }
}

#[test]
fn without_a_service_manager_nothing_is_told() {
    let mut world = World::running(settings(1));
    world.command(Command::Close);
    assert_eq!(world.notices, []);
}

#[test]
fn the_start_is_told_in_words_and_ready_only_when_all_workers_are() {
    let mut world = World::new(managed(2, None));
    world.command(Command::Start);
    assert_eq!(world.status(), "starting: waiting for the agent");
    world.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    assert_eq!(world.status(), "starting: 0 of 2 workers ready");
    world.bring_up(1);
    assert_eq!(world.status(), "starting: 1 of 2 workers ready");
    assert_eq!(world.states(), []);
    world.bring_up(2);
    assert_eq!(world.states(), [ServiceState::Ready]);
    assert_eq!(world.status(), "2 of 2 workers ready");
}

#[test]
fn sticky_mode_is_ready_when_its_port_is_open() {
    let mut world = World::new(Settings {
        sticky_port: Some(40_001),
        ..managed(1, None)
    });
    world.listen_later = true;
    world.start_agent();
    world.bring_up(1);
    assert_eq!(world.status(), "starting: opening the public port");
    assert_eq!(world.states(), []);
    let listener = world.listener();
    world.answer_listen(listener);
    assert_eq!(world.states(), [ServiceState::Ready]);
}

#[test]
fn a_death_changes_the_words_and_not_the_state() {
    let mut world = World::running(managed(2, None));
    world.kill(ChildId::App(1));
    assert_eq!(world.status(), "1 of 2 workers ready");
    assert_eq!(world.states(), [ServiceState::Ready]);
}

#[test]
fn a_reload_is_told_at_its_beginning_and_ready_at_its_end() {
    let mut world = World::running(managed(2, None));
    world.command(Command::Reload);
    let reloading = ServiceState::Reloading { number: 1 };
    assert_eq!(world.states(), [ServiceState::Ready, reloading]);
    assert_eq!(
        world.status(),
        "reloading: 0 of 2 replaced, 2 of 2 workers ready"
    );
    // A minute for the boot, the longest drain, both close timeouts and a margin.
    assert_eq!(world.last_extension(), Some(Duration::from_secs(83)));
    world.bring_up_for_good(3);
    world.die(ChildId::App(1), code(0));
    assert_eq!(
        world.status(),
        "reloading: 1 of 2 replaced, 2 of 2 workers ready"
    );
    assert!(world.last_extension().is_some(), "each step has its time");
    world.bring_up_for_good(4);
    world.die(ChildId::App(2), code(0));
    assert_eq!(
        world.states(),
        [ServiceState::Ready, reloading, ServiceState::Ready]
    );
}

#[test]
fn a_reload_that_follows_another_is_told_by_itself() {
    let mut world = World::running(managed(1, None));
    world.command(Command::Reload);
    world.command(Command::Reload);
    world.bring_up_for_good(2);
    world.die(ChildId::App(1), code(0));
    let second = ServiceState::Reloading { number: 2 };
    assert_eq!(world.states().last(), Some(&second));
}

#[test]
fn a_reload_that_fails_leaves_it_ready_and_says_so() {
    let mut world = World::running(managed(1, None));
    world.command(Command::Reload);
    world.die(ChildId::App(2), code(1));
    assert_eq!(world.states().last(), Some(&ServiceState::Ready));
    assert!(
        world
            .status()
            .starts_with("1 of 1 workers ready, the last reload failed: "),
        "{}",
        world.status()
    );
}

#[test]
fn the_restart_of_one_slot_is_no_reload() {
    let mut world = World::running(managed(2, None));
    let now = world.now;
    world.core.steer(now, Steer::Restart { slot: 1 }).unwrap();
    world.perform();
    assert_eq!(world.status(), "restarting slot 1, 2 of 2 workers ready");
    assert_eq!(world.states(), [ServiceState::Ready]);
}

#[test]
fn the_end_is_told_at_its_beginning_with_the_time_that_it_may_take() {
    let mut world = World::running(managed(1, None));
    world.command(Command::Close);
    assert_eq!(world.states().last(), Some(&ServiceState::Stopping));
    assert_eq!(world.status(), "closing: 1 of the app workers left");
    // The longest drain, both close timeouts and a margin.
    assert_eq!(world.last_extension(), Some(Duration::from_secs(23)));
    world.die(ChildId::App(1), code(0));
    assert_eq!(world.status(), "closing: waiting for the agent");
    assert_eq!(world.last_extension(), Some(Duration::from_secs(8)));
    let told = world.notices.len();
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);
    assert_eq!(world.notices.len(), told, "nothing after the end");
}

#[test]
fn a_start_that_fails_is_an_end() {
    let mut world = World::new(managed(1, None));
    world.start_agent();
    world.die(ChildId::App(1), code(1));
    assert_eq!(world.states(), [ServiceState::Stopping]);
    assert_eq!(world.status(), "failed, exiting with code 1");
}

#[test]
fn signs_of_life_come_every_half_of_the_time_from_start_to_end() {
    let mut world = World::new(managed(1, Some(Duration::from_secs(20))));
    world.command(Command::Start);
    assert_eq!(world.signs_of_life(), 1);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.signs_of_life(), 4, "while it starts");
    world.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    world.bring_up(1);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.signs_of_life(), 6);
    world.descendants = 1;
    world.command(Command::Close);
    world.die(ChildId::App(1), code(0));
    world.pass(Duration::from_secs(4));
    assert_eq!(world.signs_of_life(), 6);
    world.descendants = 0;
    world.pass(Duration::from_millis(50));
    world.die(AGENT, code(0));
    assert!(world.core.poll_timeout().is_none());
}

#[test]
fn signs_of_life_are_held_back_while_nobody_serves_and_come_at_once_when_somebody_does() {
    let mut world = World::running(managed(1, Some(Duration::from_secs(20))));
    world.kill(ChildId::App(1));
    let before = world.signs_of_life();
    world.pass(Duration::from_secs(15));
    assert_eq!(world.signs_of_life(), before);
    world.bring_up(2);
    assert_eq!(world.signs_of_life(), before + 1);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.signs_of_life(), before + 2);
}

#[test]
fn signs_of_life_are_held_back_while_all_workers_hang() {
    let mut world = World::running(Settings {
        watchdog: Some(WatchdogSettings {
            timeout: Duration::from_secs(60),
            boot_timeout: None,
            interval: Duration::from_secs(1),
            kills: false,
            stack: false,
        }),
        ..managed(1, Some(Duration::from_secs(20)))
    });
    let before = world.signs_of_life();
    world.pass(Duration::from_secs(25));
    assert_eq!(world.signs_of_life(), before);
    world.feed(Input::Pong {
        child: ChildId::App(1),
    });
    assert_eq!(world.signs_of_life(), before + 1);
}

#[test]
fn a_pause_is_no_illness() {
    let mut world = World::running(managed(1, Some(Duration::from_secs(20))));
    let now = world.now;
    world.core.steer(now, Steer::Pause).unwrap();
    world.perform();
    assert_eq!(world.status(), "paused, 1 of 1 workers ready");
    world.kill(ChildId::App(1));
    let before = world.signs_of_life();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.signs_of_life(), before + 1);
}
