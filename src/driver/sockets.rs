//! The engine's part of the sockets: binding, accepting, and looking at connections.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use tokio::io::Interest;
use tokio::task::spawn_local;

use super::config::InheritedDescriptor;
use super::engine::{Engine, Progress};
use super::tables::{Listener, Socket};
use super::tasks::{self, Gate};
use crate::core::event::{
    ConnId, Event, InheritedSocket, Input, ListenSpec, ListenTarget, ListenerId, SocketPlace,
};
use crate::sys;
use crate::sys::activation::Place;
use crate::sys::reactor::watch;

/// Connections accepted before others have their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Connections accepted from a listener that is about to be closed.
const ACCEPTS_AT_END: usize = 4096;
/// Reported where an error has no number of its own.
const EINVAL: i32 = 22;

impl Engine {
    /// Accepts what waits at a listener, as long as the core wants more.
    pub(super) fn accept_batch(&mut self, listener: ListenerId) -> Progress {
        let progress = self.accept_some(listener);
        self.settle();
        progress
    }

    pub(super) fn accept_some(&mut self, listener: ListenerId) -> Progress {
        let now = Instant::now();
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(entry) = self.listeners.get(&listener) else {
                return Progress::Ended;
            };
            let Socket::Accepting(socket, gate) = &entry.socket else {
                return Progress::Ended;
            };
            if !gate.is_open() {
                return Progress::More;
            }
            match sys::listener::accept(socket.get_ref().as_fd()) {
                Ok((fd, peer)) => {
                    let conn = self.connections.insert(fd);
                    let input = Input::Accepted {
                        listener,
                        conn,
                        peer,
                    };
                    self.feed_at(now, input);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress::Blocked;
                }
                // Out of descriptors or memory: the core pauses the listener.
                Err(error) => {
                    self.feed(Input::AcceptFailed {
                        listener,
                        errno: errno(&error),
                    });
                    return Progress::More;
                }
            }
        }
        Progress::More
    }

    /// Tells the core which of these are sockets to listen by, and the log which are not.
    pub(super) fn look_at_inherited(&mut self, descriptors: Vec<InheritedDescriptor>) {
        let mut sockets = Vec::with_capacity(descriptors.len());
        for InheritedDescriptor { fd, name } in descriptors {
            match sys::activation::look_at(fd) {
                Ok(place) => {
                    let place = match place {
                        Place::Tcp(address) => SocketPlace::Tcp(address),
                        Place::Unix(path) => SocketPlace::Unix(path),
                    };
                    sockets.push(InheritedSocket { fd, name, place });
                }
                Err(reason) => self.emit(&Event::SocketIgnored {
                    fd,
                    name,
                    reason: reason.to_string(),
                }),
            }
        }
        if !sockets.is_empty() {
            self.feed(Input::Inherited(sockets));
        }
    }

    /// Looks at the first bytes of a connection again; `ended` when no more will come.
    pub(super) fn look(&mut self, conn: ConnId, ended: bool) -> Progress {
        let Self {
            connections,
            buffer,
            ..
        } = self;
        if let Some(head) = self.peeks.look(connections, conn, ended, buffer) {
            self.feed(Input::Peeked { conn, head });
            self.settle();
        }
        self.peeks.progress(conn)
    }

    pub(super) fn peek(&mut self, conn: ConnId, beyond: usize) {
        let Self {
            connections,
            buffer,
            me,
            ..
        } = self;
        if let Some(head) = self.peeks.ask(connections, conn, beyond, buffer, me) {
            self.core
                .handle_input(Instant::now(), Input::Peeked { conn, head });
        }
    }

    pub(super) fn skip(&mut self, conn: ConnId, bytes: usize) {
        if let Some(socket) = self.connections.get(conn)
            && let Err(error) = sys::peek::skip(socket, &mut self.buffer, bytes)
        {
            // The client has reset the connection meanwhile. The worker will see its end.
            tracing::debug!(?conn, %error, "the header of a connection cannot be taken");
        }
    }

    pub(super) fn check_untouched(&mut self, conn: ConnId) {
        let untouched = self
            .connections
            .get(conn)
            .is_some_and(sys::tcp::is_untouched);
        let input = Input::Checked { conn, untouched };
        self.core.handle_input(Instant::now(), input);
    }

    pub(super) fn find_untouched(&mut self, mut conns: Vec<ConnId>) {
        conns.retain(|&conn| {
            self.connections
                .get(conn)
                .is_some_and(sys::tcp::is_untouched)
        });
        self.core
            .handle_input(Instant::now(), Input::UntouchedFound { conns });
    }

    pub(super) fn listen(&mut self, listener: ListenerId, spec: &ListenSpec) {
        let input = match self.try_listen(listener, spec) {
            Ok(()) => {
                let local = self.listeners.get(&listener).map(Listener::fd);
                let local = local.and_then(sys::listener::local_address);
                Input::Listening { listener, local }
            }
            Err(error) => Input::ListenFailed {
                listener,
                errno: errno(&error),
            },
        };
        self.core.handle_input(Instant::now(), input);
    }

    pub(super) fn try_listen(&mut self, listener: ListenerId, spec: &ListenSpec) -> io::Result<()> {
        let fd = bind(spec)?;
        let path = match &spec.target {
            ListenTarget::Pipe { path, .. } => Some(path.into()),
            _ => None,
        };
        let socket = if spec.backlog.is_some() {
            let socket = Rc::new(watch(fd, Interest::READABLE)?);
            let gate = Gate::new(false);
            let (me, task_gate) = (self.me.clone(), Rc::clone(&gate));
            spawn_local(tasks::accept(me, listener, Rc::clone(&socket), task_gate));
            Socket::Accepting(socket, gate)
        } else {
            Socket::Shared(fd)
        };
        let is_ours = !matches!(
            spec.target,
            ListenTarget::Fd(_) | ListenTarget::Inherited(_)
        );
        let entry = Listener {
            socket,
            path,
            is_ours,
        };
        self.listeners.insert(listener, entry);
        Ok(())
    }

    /// Accepts all that waits at a listener that is about to be closed.
    pub(super) fn accept_rest(&mut self, listener: ListenerId) {
        let now = Instant::now();
        let socket = match self.listeners.get(&listener).map(|entry| &entry.socket) {
            Some(Socket::Accepting(socket, _)) => Some(Rc::clone(socket)),
            Some(Socket::Shared(_)) | None => None,
        };
        // The kernel's queue has room for fewer; clients that go on connecting end here, too.
        for _ in 0..ACCEPTS_AT_END {
            let Some(Ok((fd, peer))) = socket
                .as_ref()
                .map(|socket| sys::listener::accept(socket.get_ref().as_fd()))
            else {
                break;
            };
            let conn = self.connections.insert(fd);
            self.core.handle_input(
                now,
                Input::Accepted {
                    listener,
                    conn,
                    peer,
                },
            );
        }
        self.core
            .handle_input(now, Input::AcceptedRest { listener });
    }

    pub(super) fn set_accepting(&self, listener: ListenerId, accepting: bool) {
        if let Some(Listener {
            socket: Socket::Accepting(_, gate),
            ..
        }) = self.listeners.get(&listener)
        {
            gate.set(accepting);
        }
    }
}

fn bind(spec: &ListenSpec) -> io::Result<OwnedFd> {
    match &spec.target {
        &ListenTarget::Tcp {
            address,
            port,
            ipv6_only,
        } => sys::listener::tcp(address, port, ipv6_only, spec.backlog),
        ListenTarget::Pipe {
            path,
            readable_all,
            writable_all,
        } => sys::listener::pipe(path, *readable_all, *writable_all, spec.backlog),
        &ListenTarget::Fd(fd) => sys::listener::inherited(fd, spec.backlog),
        &ListenTarget::Inherited(fd) => sys::activation::duplicate(fd),
        &ListenTarget::Udp {
            address,
            port,
            ipv6_only,
            reuse_addr,
        } => sys::listener::udp(address, port, ipv6_only, reuse_addr),
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(EINVAL)
}
