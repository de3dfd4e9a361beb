//! The stack of a hung worker: it is asked for before the kill, and never holds it up.

use super::*;
use crate::core::hang_stack::LIMIT;

const SECOND: Duration = Duration::from_secs(1);
const APP: ChildId = ChildId::App(1);

fn asking() -> Settings {
    let mut given = settings(2);
    given.watchdog = Some(WatchdogSettings {
        timeout: 10 * SECOND,
        boot_timeout: None,
        interval: 5 * SECOND,
        kills: true,
        stack: true,
    });
    given
}

fn frame() -> StackFrame {
    StackFrame {
        function: "spin".into(),
        url: "file:///app.js".into(),
        line: 12,
        column: 5,
    }
}

/// A world in which somebody is silent until it is hung, and not a moment longer.
fn hung(given: Settings, silent: ChildId) -> World {
    let mut world = World::running(given);
    while world.events_of("hung").is_empty() {
        world.live(Duration::from_millis(100), &[silent]);
    }
    world
}

fn answer(world: &mut World, stack: Result<Vec<StackFrame>, String>) {
    world.feed(Input::Stack { child: APP, stack });
}

#[test]
fn a_hung_worker_is_killed_when_its_stack_is_told() {
    let mut world = hung(asking(), APP);
    assert_eq!(world.stacks_asked, [APP]);
    assert!(world.signals.is_empty());
    answer(&mut world, Ok(vec![frame()]));
    let told = world.last_event("worker-hangs");
    let frames = json!([{"function": "spin", "url": "file:///app.js", "line": 12, "column": 5}]);
    assert_eq!(told["frames"], frames);
    assert_eq!((&told["id"], &told["reason"]), (&json!(1), &Value::Null));
    assert_eq!(world.signals, [(APP, Signal::Kill)]);
    // The deadline does not kill once more.
    world.live(2 * LIMIT, &[APP]);
    assert_eq!(world.signals.len(), 1);
    assert_eq!(world.events_of("worker-hangs").len(), 1);
}

#[test]
fn it_is_killed_as_well_when_there_is_no_stack() {
    let mut world = hung(asking(), APP);
    answer(&mut world, Err("no port".into()));
    assert_eq!(world.last_event("worker-hangs")["reason"], "no port");
    assert_eq!(world.signals, [(APP, Signal::Kill)]);
}

#[test]
fn it_is_killed_after_the_limit_when_nothing_is_told() {
    let mut world = hung(asking(), APP);
    world.live(LIMIT - Duration::from_millis(1), &[APP]);
    assert!(world.signals.is_empty());
    world.live(Duration::from_millis(1), &[APP]);
    assert_eq!(world.signals, [(APP, Signal::Kill)]);
    let reason = world.last_event("worker-hangs")["reason"].clone();
    assert_eq!(reason, "no answer within 2000ms");
    // Too late.
    answer(&mut world, Ok(vec![frame()]));
    assert_eq!(world.events_of("worker-hangs").len(), 1);
    assert_eq!(world.signals.len(), 1);
}

#[test]
fn an_answer_after_its_death_is_of_no_interest() {
    let mut world = hung(asking(), APP);
    world.kill(APP);
    answer(&mut world, Ok(vec![frame()]));
    world.live(2 * LIMIT, &[]);
    assert!(world.events_of("worker-hangs").is_empty());
    assert!(world.signals.is_empty());
}

#[test]
fn a_worker_that_answers_while_it_is_asked_is_doomed_all_the_same() {
    let mut world = hung(asking(), APP);
    world.feed(Input::Pong { child: APP });
    assert!(world.events_of("recovered").is_empty());
    answer(&mut world, Ok(vec![frame()]));
    assert_eq!(world.signals, [(APP, Signal::Kill)]);
}

#[test]
fn closing_goes_its_own_way_meanwhile() {
    let mut world = hung(asking(), APP);
    world.command(Command::Close);
    world.pass(2 * LIMIT);
    assert!(world.events_of("worker-hangs").is_empty());
    answer(&mut world, Ok(vec![frame()]));
    assert_eq!(world.events_of("worker-hangs").len(), 1);
    assert!(world.signals.contains(&(APP, Signal::Kill)));
}

#[test]
fn the_agent_is_not_asked_nor_who_is_only_reported_nor_anybody_by_default() {
    let mut off = asking();
    let mut reporting = asking();
    off.watchdog.as_mut().unwrap().stack = false;
    reporting.watchdog.as_mut().unwrap().kills = false;
    for (given, silent, killed) in [(asking(), AGENT, 1), (off, APP, 1), (reporting, APP, 0)] {
        let world = hung(given, silent);
        assert!(world.stacks_asked.is_empty());
        assert_eq!(world.signals.len(), killed);
    }
}
