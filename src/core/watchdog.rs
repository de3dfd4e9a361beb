//! Whether the children's event loops turn.
//!
//! A connection that is handed over is answered by Node from the worker's event loop, and so
//! is a ping, for children that have nothing else to answer. Whoever does not answer for a
//! moment is *stuck*: new connections go to others until it answers. Whoever does not answer
//! for long is *hung*, and so is who never becomes ready: it is reported, and in production
//! killed and replaced.
//!
//! All this is measured on a clock of its own, which stands still while the master itself
//! does not run (the machine was overloaded, the process stopped): a child is not blamed for
//! silence that the master could not have heard broken.
//!
//! Connections that a stuck worker has not answered stay with it while it lives, for it may
//! still take them. They go to others when it is killed.

use std::time::{Duration, Instant};

use super::event::{ChildId, Event, Frame, Settings, WatchdogSettings};
use super::timer::Timer;
use super::{Core, millis};

/// The longest time between two looks.
const TICK: Duration = Duration::from_millis(500);
/// Silence after which new connections go to others.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// The same in sticky mode, where going elsewhere costs a client its session.
const STICKY_STUCK_AFTER: Duration = Duration::from_secs(5);

/// The watchdog's own clock.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// None: off.
    settings: Option<WatchdogSettings>,
    stuck_after: Duration,
    /// The time that counts, since the start.
    clock: Duration,
    last_tick: Option<Instant>,
}

/// How a child answers. Times are those of the watchdog's clock.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    state: State,
    /// The watchdog waits for the answer to a ping.
    pinged: bool,
    /// The master does not read it, so that it cannot be heard.
    unheard: bool,
    /// The system does not let the master write to it, so that it hears nothing.
    unasked: bool,
    /// It is killed as soon as its stack is known, whatever it answers meanwhile.
    stack_asked: bool,
    /// When the ping was sent that is not answered yet, whoever wanted to know.
    pinged_at: Option<Instant>,
    round_trip: Option<RoundTrip>,
}

/// How long the answer to the last ping took: what its event loop had to do before is in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundTrip {
    pub(super) took: Duration,
    pub(super) at: Instant,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Not ready yet.
    Booting { since: Duration, reported: bool },
    /// Nothing is asked; this was the last answer.
    Answered { at: Duration },
    /// It has something to answer.
    Asked { since: Duration },
    /// It has had that for a while.
    Stuck { since: Duration, reported: bool },
}

impl Default for State {
    fn default() -> Self {
        Self::Booting {
            since: Duration::ZERO,
            reported: false,
        }
    }
}

/// What a look at a child has to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Ping,
    /// It is stuck from now on.
    Stuck(Duration),
    /// It has nothing to answer any more.
    Settled,
    /// It is hung.
    Hung {
        silent: Duration,
        booting: bool,
    },
}

impl Pulse {
    pub(super) fn is_stuck(&self) -> bool {
        matches!(self.state, State::Stuck { .. })
    }

    /// A look at a child that is `ready`, or that has handoffs to answer.
    fn look(&mut self, watchdog: &Watchdog, ready: bool, has_handoffs: bool) -> Verdict {
        let (now, Some(settings)) = (watchdog.clock, watchdog.settings) else {
            return Verdict::Fine;
        };
        if self.unheard || self.unasked {
            return Verdict::Fine;
        }
        let asked = has_handoffs || self.pinged;
        match self.state {
            State::Booting { .. } if ready => self.state = State::Answered { at: now },
            State::Booting { since, reported } => {
                let limit = settings.boot_timeout.filter(|_| !reported);
                if limit.is_some_and(|limit| now - since >= limit) {
                    let reported = true;
                    self.state = State::Booting { since, reported };
                    return hung(now - since, true);
                }
            }
            State::Answered { .. } if asked => self.state = State::Asked { since: now },
            State::Answered { at } if now - at >= settings.interval => {
                self.state = State::Asked { since: now };
                return self.ping();
            }
            State::Answered { .. } => {}
            State::Asked { .. } | State::Stuck { .. } if !asked => return Verdict::Settled,
            State::Asked { since } if now - since >= watchdog.stuck_after => {
                let reported = false;
                self.state = State::Stuck { since, reported };
                return Verdict::Stuck(now - since);
            }
            State::Asked { .. } => {}
            // A server that has been tampered with may owe an answer for ever: only a ping
            // that is not answered proves that the event loop stands still.
            State::Stuck { .. } if !self.pinged => return self.ping(),
            State::Stuck { since, reported } => {
                if !reported && now - since >= settings.timeout {
                    let reported = true;
                    self.state = State::Stuck { since, reported };
                    return hung(now - since, false);
                }
            }
        }
        Verdict::Fine
    }

    fn ping(&mut self) -> Verdict {
        self.pinged = true;
        Verdict::Ping
    }

    pub(super) fn round_trip(&self) -> Option<RoundTrip> {
        self.round_trip
    }

    /// When the ping was sent that is under way, whoever wanted to know.
    pub(super) fn pinged_at(&self) -> Option<Instant> {
        self.pinged_at
    }

    /// It has answered a ping that was sent then or later.
    pub(super) fn has_turned_since(&self, since: Instant) -> bool {
        self.round_trip.is_some_and(|it| it.at >= since + it.took)
    }

    /// For how long it has owed an answer.
    fn owing(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Asked { since } | State::Stuck { since, .. } => Some(now - since),
            State::Booting { .. } | State::Answered { .. } => None,
        }
    }

    /// It is known to answer: no ping is under way, and it is not stuck.
    pub(super) fn answers(&self) -> bool {
        !self.pinged && !self.is_stuck()
    }

    /// It has answered; says for how long it had been stuck, if it was.
    fn answer(&mut self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Booting { .. } => None,
            State::Answered { .. } | State::Asked { .. } => {
                self.state = State::Answered { at: now };
                None
            }
            State::Stuck { since, .. } => {
                self.state = State::Answered { at: now };
                Some(now - since)
            }
        }
    }
}

fn hung(silent: Duration, booting: bool) -> Verdict {
    Verdict::Hung { silent, booting }
}

impl Watchdog {
    /// Under the inspector a child may stand still for as long as its user likes.
    pub(super) fn new(settings: &Settings) -> Self {
        let is_inspected = settings.is_debug || settings.app_inspect_base.is_some();
        Self {
            settings: settings.watchdog.filter(|_| !is_inspected),
            stuck_after: if settings.sticky_port.is_some() {
                STICKY_STUCK_AFTER
            } else {
                STUCK_AFTER
            },
            clock: Duration::ZERO,
            last_tick: None,
        }
    }

    /// The pulse of a child that is about to be forked.
    pub(super) fn newborn(&self) -> Pulse {
        Pulse {
            state: State::Booting {
                since: self.clock,
                reported: false,
            },
            pinged: false,
            ..Pulse::default()
        }
    }

    fn tick(&self) -> Option<Duration> {
        Some(self.settings?.interval.min(TICK))
    }

    /// Moves the clock on. A tick that comes much too late counts as one that came in time.
    fn advance(&mut self, now: Instant, tick: Duration) {
        let passed = self.last_tick.map_or(tick, |last| now - last);
        self.clock += if passed > 2 * tick { tick } else { passed };
        self.last_tick = Some(now);
    }
}

impl Core {
    pub(super) fn start_watchdog(&mut self, now: Instant) {
        if let Some(tick) = self.watchdog.tick() {
            self.watchdog.last_tick = Some(now);
            self.timers.set(Timer::Watchdog, now + tick);
        }
    }

    /// Looks at all children.
    pub(super) fn watch(&mut self, now: Instant) {
        let Some(tick) = self.watchdog.tick() else {
            return;
        };
        self.watchdog.advance(now, tick);
        self.timers.set(Timer::Watchdog, now + tick);
        for child in self.living_children() {
            if !self.is_ending(child) {
                let verdict = self.look(child);
                self.follow(now, child, verdict);
            }
        }
    }

    fn look(&mut self, child: ChildId) -> Verdict {
        match child {
            ChildId::Agent(_) if self.agent.connected => {
                let ready = self.agent.is_started();
                self.agent.pulse.look(&self.watchdog, ready, false)
            }
            ChildId::Agent(_) => Verdict::Fine,
            ChildId::App(id) => match self.workers.get_mut(id) {
                Some(worker) if worker.is_watched() => {
                    let has_handoffs =
                        !worker.newconns.is_empty() || !worker.sticky.sent.is_empty();
                    worker
                        .pulse
                        .look(&self.watchdog, worker.ready, has_handoffs)
                }
                _ => Verdict::Fine,
            },
        }
    }

    fn follow(&mut self, now: Instant, child: ChildId, verdict: Verdict) {
        match verdict {
            Verdict::Fine => {}
            Verdict::Ping => self.send_ping(now, child),
            Verdict::Settled => self.note_answer(child),
            Verdict::Stuck(silent) => self.on_stuck(now, child, silent),
            Verdict::Hung { silent, booting } => self.on_hung(now, child, silent, booting),
        }
    }

    /// New connections go to others.
    fn on_stuck(&mut self, now: Instant, child: ChildId, silent: Duration) {
        if let Some((role, id, pid)) = self.identify(child) {
            let silent_ms = millis(silent);
            self.emit(Event::Stuck {
                role,
                id,
                pid,
                silent_ms,
            });
        }
        if let ChildId::App(id) = child {
            self.mark_stuck(id, true);
            self.take_back_sticky_queue(now, id);
        }
    }

    fn on_hung(&mut self, now: Instant, child: ChildId, silent: Duration, booting: bool) {
        let Some((role, id, pid)) = self.identify(child) else {
            return;
        };
        let settings = self.watchdog.settings;
        let killed = settings.is_some_and(|settings| settings.kills);
        let silent_ms = millis(silent);
        let what = if booting {
            "was not ready"
        } else {
            "did not answer"
        };
        let error = format!("{role}#{id}:{pid} {what} within {silent_ms}ms");
        match child {
            ChildId::Agent(_) => self.restarts.agent.record_error(error),
            ChildId::App(id) => {
                let slot = self.workers.get(id).map(|worker| worker.slot);
                if let Some(backoff) = slot.and_then(|slot| self.restarts.slot_mut(slot)) {
                    backoff.record_error(error);
                }
            }
        }
        self.emit(Event::Hung {
            role,
            id,
            pid,
            silent_ms,
            booting,
            killed,
        });
        if killed {
            self.end_hung(now, child);
        }
    }

    /// Asks a worker that has just become ready whether its event loop turns, if anybody would
    /// end it otherwise.
    pub(super) fn ping_newcomer(&mut self, now: Instant, id: u32) {
        let is_watched = self.watchdog.settings.is_some();
        if let Some(worker) = self.workers.get_mut(id).filter(|_| is_watched) {
            worker.pulse.pinged = true;
            self.send_ping(now, ChildId::App(id));
        }
    }

    /// Asks a child whether its event loop turns. One ping is under way at a time, so that it is
    /// known which one an answer is for.
    pub(super) fn send_ping(&mut self, now: Instant, child: ChildId) {
        if let Some(pulse) = self.pulse_mut(child)
            && pulse.pinged_at.is_none()
        {
            pulse.pinged_at = Some(now);
            self.send(child, Frame::Ping);
        }
    }

    /// For how long a child has owed an answer, on the watchdog's clock.
    pub(super) fn silence(&self, pulse: &Pulse) -> Option<Duration> {
        pulse.owing(self.watchdog.clock)
    }

    /// The stack of app workers only is wanted: the agent has no code of requests.
    pub(super) fn wants_stack(&self, child: ChildId) -> bool {
        let wanted = self.watchdog.settings.is_some_and(|it| it.stack);
        wanted && matches!(child, ChildId::App(_))
    }

    pub(super) fn set_stack_asked(&mut self, child: ChildId, asked: bool) {
        if let Some(pulse) = self.pulse_mut(child) {
            pulse.stack_asked = asked;
        }
    }

    pub(super) fn is_stack_asked(&mut self, child: ChildId) -> bool {
        self.pulse_mut(child).is_some_and(|pulse| pulse.stack_asked)
    }

    fn pulse_mut(&mut self, child: ChildId) -> Option<&mut Pulse> {
        match child {
            ChildId::Agent(_) => Some(&mut self.agent.pulse),
            ChildId::App(id) => self.workers.get_mut(id).map(|worker| &mut worker.pulse),
        }
    }

    /// The child's event loop has answered a ping.
    pub(super) fn on_pong(&mut self, now: Instant, child: ChildId) {
        if let Some(pulse) = self.pulse_mut(child) {
            pulse.pinged = false;
            if let Some(at) = pulse.pinged_at.take() {
                let took = now.saturating_duration_since(at);
                pulse.round_trip = Some(RoundTrip { took, at: now });
            }
        }
        if let ChildId::App(id) = child {
            self.look_at_untouched_of(now, id);
        }
        self.note_answer(child);
    }

    /// While the master does not read a child, its silence means nothing; afterwards it
    /// counts from the beginning.
    pub(super) fn set_unheard(&mut self, child: ChildId, unheard: bool) {
        if let Some(pulse) = self.pulse_mut(child) {
            pulse.unheard = unheard;
        }
        self.note_answer(child);
    }

    /// The same while the system does not let the master write to a child, and for what it has not
    /// read of its messages.
    pub(super) fn set_unasked(&mut self, now: Instant, child: ChildId, unasked: bool) {
        if let Some(pulse) = self.pulse_mut(child) {
            pulse.unasked = unasked;
        }
        if self.timers.is_set(Timer::Stall(child)) {
            self.timers.set(
                Timer::Stall(child),
                now + self.settings.limits.stall_timeout,
            );
        }
        self.note_answer(child);
    }

    /// A child has not read its messages for long, unless there is a reason.
    pub(super) fn on_stalled(&mut self, now: Instant, child: ChildId) {
        if self.pulse_mut(child).is_some_and(|pulse| pulse.unasked) {
            self.timers.set(
                Timer::Stall(child),
                now + self.settings.limits.stall_timeout,
            );
        } else {
            self.kill_unresponsive(child);
        }
    }

    /// The child's event loop turns. One that was stuck is offered connections again.
    pub(super) fn note_answer(&mut self, child: ChildId) {
        if self.is_stack_asked(child) {
            return;
        }
        let now = self.watchdog.clock;
        let answer = |pulse: &mut Pulse| pulse.answer(now);
        if let Some(silent) = self.pulse_mut(child).and_then(answer) {
            self.on_recovered(child, silent);
        }
    }

    /// Tells the schedulers of its listeners, which may then have room, or none.
    fn mark_stuck(&mut self, id: u32, stuck: bool) {
        for listener in self.listeners.of_member(id) {
            if let Some(entry) = self.listeners.get_mut(listener) {
                entry.scheduler.set_stuck(id, stuck);
            }
            self.dispatch(listener);
        }
    }

    fn on_recovered(&mut self, child: ChildId, silent: Duration) {
        if let Some((role, id, pid)) = self.identify(child) {
            let silent_ms = millis(silent);
            self.emit(Event::Recovered {
                role,
                id,
                pid,
                silent_ms,
            });
        }
        if let ChildId::App(id) = child {
            self.mark_stuck(id, false);
        }
    }
}
