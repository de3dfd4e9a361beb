//! The promises about connections with a thousand workers, tens of thousands of connections,
//! and deaths, refusals and doubled or missing answers at every step of a handoff.

use std::collections::{HashMap, HashSet, VecDeque};

use super::*;
use crate::ipc::message::{Address, ChildMessage, Family, QueryServer};

const WORKERS: u32 = 1_000;
const CONNECTIONS: usize = 30_000;

struct Crowd {
    core: Core,
    now: Instant,
    random: u64,
    next_pid: i32,
    /// Handoffs that a living worker has not answered, in order.
    waiting: HashMap<u32, VecDeque<(u64, ConnId)>>,
    living: Vec<u32>,
    booting: Vec<u32>,
    accepting: bool,
    listener: Option<ListenerId>,
    /// Accepted, and not closed by the core.
    open: HashSet<ConnId>,
    touched: HashSet<ConnId>,
    served: HashSet<ConnId>,
    made: usize,
}

impl Crowd {
    fn start(seed: u64) -> Self {
        let mut crowd = Self {
            core: Core::new(settings(WORKERS)),
            now: Instant::now(),
            random: seed,
            next_pid: 1000,
            waiting: HashMap::new(),
            living: Vec::new(),
            booting: Vec::new(),
            accepting: false,
            listener: None,
            open: HashSet::new(),
            touched: HashSet::new(),
            served: HashSet::new(),
            made: 0,
        };
        crowd.feed(Input::Command(Command::Start));
        let ChildMessage::User(started) =
            ChildMessage::User(user(&json!({"action": "agent-start", "to": "master"})))
        else {
            unreachable!("made a line above")
        };
        crowd.say(AGENT, ChildMessage::User(started));
        crowd.bring_up_all();
        assert_eq!(crowd.core.snapshot().phase, "running");
        crowd
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % limit as u64).unwrap()
    }

    fn say(&mut self, child: ChildId, message: ChildMessage) {
        self.feed(Input::Message { child, message });
    }

    fn bring_up_all(&mut self) {
        for id in std::mem::take(&mut self.booting) {
            let child = ChildId::App(id);
            self.say(
                child,
                ChildMessage::QueryServer(QueryServer {
                    seq: 0,
                    index: 0,
                    family: Family::Tcp4,
                    address: None,
                    port: Some(7001),
                    fd: None,
                    flags: 0,
                    backlog: 0,
                    readable_all: false,
                    writable_all: false,
                    data: None,
                }),
            );
            let address = Address {
                family: Family::Tcp4,
                address: None,
                port: Some(7001),
                fd: None,
            };
            self.say(child, ChildMessage::Listening(address));
        }
    }

    fn feed(&mut self, input: Input) {
        self.core.handle_input(self.now, input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Spawn(spec) => self.spawn(spec.child),
                Output::Send {
                    child: ChildId::App(id),
                    frame: Frame::Newconn { seq, handle, .. },
                } => {
                    let HandleRef::Conn(conn) = handle else {
                        panic!("no connection in a newconn")
                    };
                    assert!(self.open.contains(&conn), "{conn:?} is closed");
                    self.waiting.entry(id).or_default().push_back((seq, conn));
                }
                Output::Send {
                    child,
                    frame: Frame::Ping,
                } => self.core.handle_input(self.now, Input::Pong { child }),
                Output::Listen { listener, .. } => {
                    self.listener = Some(listener);
                    let local = None;
                    self.core
                        .handle_input(self.now, Input::Listening { listener, local });
                }
                Output::Accept { .. } => self.accepting = true,
                Output::PauseAccept { .. } => self.accepting = false,
                Output::CloseListener { .. } => panic!("the port was closed"),
                Output::CheckUntouched { conn } => {
                    let untouched = !self.touched.contains(&conn);
                    let input = Input::Checked { conn, untouched };
                    self.core.handle_input(self.now, input);
                }
                Output::FindUntouched { mut conns } => {
                    conns.retain(|conn| !self.touched.contains(conn));
                    self.core
                        .handle_input(self.now, Input::UntouchedFound { conns });
                }
                Output::CloseConn { conn } => {
                    assert!(self.open.remove(&conn), "{conn:?} is closed twice");
                    assert!(self.served.contains(&conn), "{conn:?} was never served");
                }
                _ => {}
            }
        }
    }

    fn spawn(&mut self, child: ChildId) {
        self.next_pid += 1;
        if let ChildId::App(id) = child {
            self.living.push(id);
            self.booting.push(id);
        }
        let pid = self.next_pid;
        self.core
            .handle_input(self.now, Input::Spawned { child, pid });
    }

    fn connect(&mut self) {
        let Some(listener) = self.listener.filter(|_| self.accepting) else {
            return;
        };
        self.made += 1;
        let conn = ConnId(self.made as u64);
        self.open.insert(conn);
        let peer = Some(Ipv4Addr::LOCALHOST.into());
        self.feed(Input::Accepted {
            listener,
            conn,
            peer,
        });
    }

    /// A worker with something to answer does so, refuses, lies, or repeats itself.
    fn answer(&mut self, id: u32) {
        let Some((ack, conn)) = self.waiting.get_mut(&id).and_then(VecDeque::pop_front) else {
            return;
        };
        let child = ChildId::App(id);
        let accepted = self.below(8) > 0;
        match self.below(10) {
            // Lost by the child's own lack of descriptors.
            0 => return self.feed(Input::HandleRefused { child, conn }),
            1 => self.say(
                child,
                ChildMessage::Accepted {
                    ack: ack + 1_000_000,
                    accepted,
                },
            ),
            _ => self.feed(Input::HandleAcked { child, conn }),
        }
        if accepted {
            self.served.insert(conn);
            if self.below(3) > 0 {
                self.touched.insert(conn);
            }
        }
        self.say(child, ChildMessage::Accepted { ack, accepted });
        if self.below(5) == 0 {
            self.say(
                child,
                ChildMessage::Accepted {
                    ack,
                    accepted: !accepted,
                },
            );
        }
    }

    /// A worker dies, with handoffs in any state, and with or without a transport ack.
    fn kill(&mut self, place: usize) {
        let id = self.living.swap_remove(place);
        let child = ChildId::App(id);
        if let Some(&(_, conn)) = self.waiting.get(&id).and_then(VecDeque::front)
            && self.below(2) == 0
        {
            self.feed(Input::HandleAcked { child, conn });
        }
        self.waiting.remove(&id);
        self.booting.retain(|&booting| booting != id);
        self.feed(Input::Disconnected { child });
        self.feed(Input::Exited {
            child,
            status: code(1),
        });
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.core.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.perform();
        }
        self.now = end;
    }
}

fn play(seed: u64) {
    let mut crowd = Crowd::start(seed);
    while crowd.made < CONNECTIONS {
        let place = crowd.below(crowd.living.len());
        let id = crowd.living[place];
        match crowd.below(1_000) {
            0..500 => crowd.connect(),
            500..990 => crowd.answer(id),
            990..992 => crowd.kill(place),
            992..994 => crowd.bring_up_all(),
            _ => crowd.pass(Duration::from_millis(1)),
        }
    }
    crowd.bring_up_all();
    let mut rounds = 0;
    while !crowd.open.is_empty() {
        rounds += 1;
        assert!(rounds < 2_000, "seed {seed}: {:?} stay", crowd.open);
        let busy: Vec<u32> = crowd.waiting.keys().copied().collect();
        for id in busy {
            crowd.answer(id);
        }
        crowd.pass(Duration::from_millis(50));
        crowd.bring_up_all();
    }
    assert_eq!(crowd.served.len(), CONNECTIONS, "seed {seed}");
}

#[test]
fn every_connection_is_served_whatever_happens_to_a_thousand_workers() {
    for seed in [1, 0x5eed, 0xdead_beef] {
        println!("seed {seed}");
        play(seed);
    }
}
