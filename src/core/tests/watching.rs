//! The watchdog: who does not answer gets no connections, and in the end is replaced.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn watched(workers: u32) -> Settings {
    let mut given = settings(workers);
    given.watchdog = Some(WatchdogSettings {
        timeout: 60 * SECOND,
        boot_timeout: None,
        interval: 5 * SECOND,
        kills: true,
        stack: false,
    });
    given
}

fn app(id: u32) -> ChildId {
    ChildId::App(id)
}

impl World {
    /// Time passes, and all children but these answer their pings.
    pub fn live(&mut self, duration: Duration, silent: &[ChildId]) {
        let step = Duration::from_millis(100);
        let end = self.now + duration;
        while self.now < end {
            self.pass(step.min(end - self.now));
            let (silent_pings, answered) = std::mem::take(&mut self.pings)
                .into_iter()
                .partition::<Vec<_>, _>(|child| silent.contains(child));
            self.pings = silent_pings;
            for child in answered {
                if self.alive.contains(&child) {
                    self.feed(Input::Pong { child });
                }
            }
        }
    }
}

#[test]
fn whoever_has_nothing_to_answer_is_pinged_and_nothing_happens_to_those_who_answer() {
    let mut world = World::running(watched(2));
    world.pass(6 * SECOND);
    world.pings.sort();
    assert_eq!(world.pings, [AGENT, app(1), app(2)]);
    for child in std::mem::take(&mut world.pings) {
        world.feed(Input::Pong { child });
    }
    world.live(600 * SECOND, &[]);
    assert!(world.events_of("stuck").is_empty());
    assert!(world.signals.is_empty());
}

#[test]
fn a_worker_with_connections_to_answer_is_not_pinged() {
    let mut world = World::running(watched(1));
    for _ in 0..60 {
        let listener = world.listener();
        world.connect(listener);
        world.live(Duration::from_millis(400), &[app(1)]);
        world.answer(1, true);
    }
    assert!(!world.pings.contains(&app(1)));
    assert!(world.events_of("stuck").is_empty());
}

#[test]
fn a_stuck_worker_gets_no_connection_while_another_is_ready_and_its_share_when_it_is_back() {
    let mut world = World::running(watched(2));
    let listener = world.listener();
    world.connect(listener);
    world.connect(listener);
    world.answer(2, true);
    world.live(2 * SECOND, &[app(1)]);
    assert_eq!(world.last_event("stuck")["id"], 1);
    assert!(!world.core.snapshot().workers[0].responsive);
    for _ in 0..10 {
        world.connect(listener);
        world.answer(2, true);
    }
    assert_eq!(world.unanswered(1), 1, "what it had, it keeps");
    world.answer(1, true);
    assert_eq!(world.last_event("recovered")["id"], 1);
    assert!(world.core.snapshot().workers[0].responsive);
    world.connect(listener);
    world.connect(listener);
    assert_eq!((world.unanswered(1), world.unanswered(2)), (1, 1));
}

#[test]
fn accepting_pauses_when_the_only_one_that_answers_is_full() {
    let mut world = World::running(watched(2));
    let listener = world.listener();
    world.connect(listener);
    world.connect(listener);
    world.answer(2, true);
    world.live(2 * SECOND, &[app(1)]);
    assert_eq!(
        world.connect_all(listener).len(),
        2,
        "one is sent, one waits"
    );
    assert_eq!([1, 2].map(|id| world.unanswered(id)), [1, 1]);
    world.answer(2, true);
    assert!(world.accepting.contains(&listener));
}

#[test]
fn when_all_are_stuck_connections_go_to_all() {
    let mut world = World::running(watched(2));
    let listener = world.listener();
    world.live(8 * SECOND, &[app(1), app(2)]);
    assert_eq!(world.events_of("stuck").len(), 2);
    world.connect_all(listener);
    assert_eq!((world.unanswered(1), world.unanswered(2)), (1, 1));
}

#[test]
fn a_hung_worker_is_killed_and_what_it_had_not_answered_goes_to_others() {
    let mut world = World::running(watched(2));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.live(60 * SECOND, &[app(1)]);
    assert!(world.signals.is_empty());
    world.live(2 * SECOND, &[app(1)]);
    assert_eq!(world.signals, [(app(1), Signal::Kill)]);
    let hung = world.last_event("hung");
    assert_eq!((&hung["id"], &hung["killed"]), (&json!(1), &json!(true)));
    world.sent.retain(|(child, ..)| *child != app(1));
    world.kill(app(1));
    assert_eq!(world.answer(2, true), conn);
    assert_eq!(world.last_event("app-forked")["reason"], "refork");
    let slot = world.core.snapshot().slots[0].clone();
    assert!(slot.last_error.unwrap().contains("did not answer"));
}

#[test]
fn only_an_unanswered_ping_proves_that_a_worker_hangs() {
    let mut world = World::running(watched(2));
    let listener = world.listener();
    // Its server was tampered with: the answer to this connection never comes.
    world.connect(listener);
    world.live(600 * SECOND, &[]);
    assert!(world.signals.is_empty());
}

#[test]
fn a_child_that_the_master_does_not_read_is_not_blamed() {
    let mut world = World::running(watched(1));
    world.live(20 * SECOND, &[app(1)]);
    world.feed(Input::ReadingPaused { child: app(1) });
    world.live(600 * SECOND, &[app(1)]);
    assert!(world.signals.is_empty());
    world.feed(Input::ReadingResumed { child: app(1) });
    world.live(59 * SECOND, &[app(1)]);
    assert!(world.signals.is_empty());
    world.live(3 * SECOND, &[app(1)]);
    assert_eq!(world.signals, [(app(1), Signal::Kill)]);
}

#[test]
fn a_child_that_the_system_keeps_from_being_asked_is_not_blamed() {
    let mut world = World::running(watched(1));
    world.live(20 * SECOND, &[app(1)]);
    world.feed(Input::OutboxFull { child: app(1) });
    world.feed(Input::WritingPaused { child: app(1) });
    world.live(600 * SECOND, &[app(1)]);
    assert!(world.signals.is_empty());
    world.feed(Input::WritingResumed { child: app(1) });
    world.live(29 * SECOND, &[app(1)]);
    assert!(world.signals.is_empty(), "its time to read begins then");
    world.live(2 * SECOND, &[app(1)]);
    assert_eq!(world.signals, [(app(1), Signal::Kill)]);
}

#[test]
fn a_hung_agent_is_replaced_too() {
    let mut world = World::running(watched(1));
    world.live(70 * SECOND, &[AGENT]);
    assert_eq!(world.signals, [(AGENT, Signal::Kill)]);
    assert_eq!(world.last_event("hung")["role"], "agent");
    world.kill(AGENT);
    world.live(SECOND, &[]);
    assert_eq!(world.last_event("agent-forked")["id"], 2);
}

#[test]
fn where_hung_children_are_only_reported_they_are_so_once_and_may_come_back() {
    let mut given = watched(1);
    given.watchdog.as_mut().unwrap().kills = false;
    let mut world = World::running(given);
    world.live(600 * SECOND, &[app(1)]);
    assert_eq!(world.events_of("hung").len(), 1);
    assert_eq!(world.last_event("hung")["killed"], false);
    assert!(world.signals.is_empty());
    world.live(SECOND, &[]);
    let silent = world.last_event("recovered")["silentMs"].as_u64().unwrap();
    assert!(silent > 590_000, "{silent}");
}

#[test]
fn time_in_which_the_master_did_not_run_does_not_count() {
    let mut world = World::running(watched(1));
    world.live(20 * SECOND, &[app(1)]);
    // The process is stopped for ten minutes, ten times.
    for _ in 0..10 {
        world.now += 600 * SECOND;
        world.core.handle_timeout(world.now);
        world.perform();
    }
    assert!(world.events_of("hung").is_empty());
    world.live(60 * SECOND, &[app(1)]);
    assert_eq!(world.events_of("hung").len(), 1);
}

#[test]
fn a_worker_that_never_becomes_ready_is_killed_where_booting_has_a_limit() {
    let mut given = watched(1);
    given.watchdog.as_mut().unwrap().boot_timeout = Some(20 * SECOND);
    let mut world = World::running(given);
    world.kill(app(1));
    world.live(21 * SECOND, &[]);
    assert_eq!(world.last_event("hung")["booting"], true);
    assert_eq!(world.signals, [(app(2), Signal::Kill)]);

    let mut world = World::running(watched(1));
    world.kill(app(1));
    world.live(3600 * SECOND, &[]);
    assert!(world.signals.is_empty(), "it may take any time by default");
}

#[test]
fn nobody_is_watched_under_the_inspector_nor_when_it_is_off_nor_while_it_leaves() {
    let mut debug = watched(1);
    debug.is_debug = true;
    let mut inspected = watched(1);
    inspected.app_inspect_base = Some(9229);
    for given in [debug, inspected, settings(1)] {
        let mut world = World::running(given);
        world.pass(600 * SECOND);
        assert!(world.pings.is_empty() && world.signals.is_empty());
    }

    let mut world = World::running(watched(1));
    world.say_cluster(1, json!({"act": "exitedAfterDisconnect"}));
    world.live(600 * SECOND, &[app(1)]);
    assert!(world.signals.is_empty());
    world.command(Command::Close);
    world.pings.clear();
    world.pass(SECOND);
    assert!(world.pings.is_empty());
}

#[test]
fn sticky_clients_stay_with_a_worker_that_is_stuck_for_a_moment_only() {
    let mut given = watched(2);
    given.sticky_port = Some(40_001);
    let mut world = World::running(given);
    let listener = world.listener();
    let child_of = |world: &World| world.sent.last().expect("a connection").0;
    world.connect(listener);
    let own = child_of(&world);
    world.live(4 * SECOND, &[own]);
    world.connect(listener);
    assert_eq!(child_of(&world), own);
    world.live(3 * SECOND, &[own]);
    assert_eq!(world.events_of("stuck").len(), 1);
    world.connect(listener);
    assert_ne!(child_of(&world), own);
}
