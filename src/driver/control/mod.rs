//! The control socket: how an operator sees and steers the master. It is served on the core
//! thread, so that no JavaScript has to run for it. What can be asked is in docs/control.md.
//!
//! | module | what it does |
//! |---|---|
//! | [`http`] | paths, and what is answered |
//! | [`report`] | the status, with what the system and the driver know |
//! | [`metrics`] | the same for Prometheus |
//! | [`readers`] | those who follow the events |
//! | [`socket`] | the file of the socket |
//!
//! Whoever may connect to the unix socket may do everything; over TCP one can only probe.

mod http;
mod metrics;
mod readers;
mod report;
mod socket;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::geteuid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_local;

use super::engine::Engine;
use crate::core::event::{Event, Refusal, Steer, Steered};
use crate::sys::command;
use readers::Readers;
use report::Addresses;
use socket::SocketFile;

/// Connections at a time, of each of the two sockets.
const MOST_CONNECTIONS: usize = 32;
/// How long the head of a request may take to arrive, and how long a connection may be idle.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The longest head of a request.
const HEAD_LIMIT: usize = 16 << 10;
/// How long a connection of the network may last.
const PROBE_TIME: Duration = Duration::from_secs(60);
/// Pause after `accept` has failed, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Those who are turned away and are still told so.
const MOST_AT_THE_DOOR: usize = 32;
/// How long they may take to say what they want, which is not heard.
const DOOR_TIME: Duration = Duration::from_secs(1);
/// How long the last events may take to be read.
const FAREWELL: Duration = Duration::from_millis(100);

/// What JavaScript gives at birth.
#[derive(Debug, Clone)]
pub struct ControlSettings {
    /// The unix socket.
    pub path: PathBuf,
    /// The address for probes and metrics.
    pub tcp: Option<SocketAddr>,
    /// The directory of the application, by which operators know the master.
    pub base_dir: String,
}

/// Who can reach a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The user of this process, and root: the process with this id, where the system tells it.
    Owner(Option<i32>),
    /// Whoever can reach the address.
    Anybody,
}

/// The engine's part of the control socket.
#[derive(Debug)]
pub(super) struct Control {
    started: Instant,
    base_dir: String,
    addresses: Addresses,
    readers: Readers,
    file: Option<SocketFile>,
    places: Arc<Semaphore>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            base_dir: String::new(),
            addresses: Addresses::default(),
            readers: Readers::default(),
            file: None,
            places: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
        }
    }
}

impl Control {
    /// Something has happened, which is told as this JSON.
    pub(super) fn publish(&mut self, event: &Event, json: &str) {
        let uptime = self.started.elapsed().as_millis();
        let uptime_ms = u64::try_from(uptime).unwrap_or(u64::MAX);
        self.readers.publish(uptime_ms, event, json);
        if matches!(event, Event::Closed { .. }) {
            // Before anybody is told that nothing is left.
            self.file = None;
        }
    }
}

impl Engine {
    /// Does what the process `peer` wants.
    fn steer(&mut self, wish: Steer, peer: Option<i32>) -> Result<Steered, Refusal> {
        let steered = self.core.steer(Instant::now(), wish);
        if !matches!(steered, Err(_) | Ok(Steered::Unchanged)) {
            self.emit(&Event::Asked {
                request: wish.name(),
                pid: peer,
                command: peer.and_then(command::of),
            });
        }
        self.perform();
        self.settle();
        steered
    }
}

/// Opens what the settings name, and serves it for as long as the engine lives.
pub(super) fn start(engine: &Rc<RefCell<Engine>>, settings: Option<ControlSettings>) {
    if let Some(settings) = settings {
        spawn_local(open(Rc::downgrade(engine), settings));
    }
}

/// Lets the readers of events read the last ones.
pub(super) async fn finish(engine: &Rc<RefCell<Engine>>) {
    let places = {
        let mut engine = engine.borrow_mut();
        if engine.control.readers.is_empty() {
            return;
        }
        engine.control.readers.end();
        Arc::clone(&engine.control.places)
    };
    let all = u32::try_from(MOST_CONNECTIONS).unwrap_or(u32::MAX);
    // Those that are slower do without.
    let _ = tokio::time::timeout(FAREWELL, places.acquire_many(all)).await;
}

async fn open(engine: Weak<RefCell<Engine>>, settings: ControlSettings) {
    let mut addresses = Addresses::default();
    let unix = match open_unix(&settings).await {
        Ok((listener, file, warning)) => {
            addresses.path = Some(file.path().to_string_lossy().into_owned());
            Some((listener, file, warning))
        }
        Err(reason) => {
            emit(&engine, Event::ControlFailed { reason });
            None
        }
    };
    let tcp = match settings.tcp.map(open_tcp) {
        Some(Ok(listener)) => {
            let local = listener.local_addr().ok();
            addresses.tcp = local.map(|address| address.to_string());
            Some(listener)
        }
        Some(Err(reason)) => {
            emit(&engine, Event::ControlFailed { reason });
            None
        }
        None => None,
    };
    let Some(strong) = engine.upgrade() else {
        return;
    };
    let places = Arc::clone(&strong.borrow().control.places);
    strong.borrow_mut().control.base_dir = settings.base_dir;
    strong.borrow_mut().control.addresses = addresses.clone();
    if let Some((listener, file, warning)) = unix {
        strong.borrow_mut().control.file = Some(file);
        spawn_local(serve_owner(engine.clone(), listener, places));
        if let Some(reason) = warning {
            emit(&engine, Event::ControlFailed { reason });
        }
    }
    if let Some(listener) = tcp {
        spawn_local(serve_anybody(engine.clone(), listener));
    }
    let Addresses { path, tcp } = addresses;
    if path.is_some() || tcp.is_some() {
        emit(&engine, Event::ControlReady { path, tcp });
    }
}

type Unix = (UnixListener, SocketFile, Option<String>);

async fn open_unix(settings: &ControlSettings) -> Result<Unix, String> {
    let opened = socket::open(&settings.path).await?;
    let listener = UnixListener::from_std(StdUnixListener::from(opened.fd));
    let listener =
        listener.map_err(|error| format!("the control socket is not usable: {error}"))?;
    Ok((listener, opened.file, opened.warning))
}

fn open_tcp(address: SocketAddr) -> Result<TcpListener, String> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|error| {
        format!("cannot listen on {address}: {error}; name another address by options.control.tcp")
    })
}

fn emit(engine: &Weak<RefCell<Engine>>, event: Event) {
    if let Some(engine) = engine.upgrade() {
        engine.borrow_mut().emit(&event);
    }
}

/// The file is for its owner only. That the system says so of the peer, too, is the second lock
/// of the door.
fn is_owner(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

async fn serve_owner(
    engine: Weak<RefCell<Engine>>,
    listener: UnixListener,
    places: Arc<Semaphore>,
) {
    let door = Arc::new(Semaphore::new(MOST_AT_THE_DOOR));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let peer = stream.peer_cred().ok();
        let refused = if !peer.is_some_and(|peer| is_owner(peer.uid())) {
            (
                "403 Forbidden",
                "only the user of the master, and root, may",
            )
        } else if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let stream = Box::new(stream);
            // 0: it lives in another namespace.
            let pid = peer.and_then(|peer| peer.pid()).filter(|&pid| pid > 0);
            spawn_local(serve(engine.clone(), Scope::Owner(pid), stream, place));
            continue;
        } else {
            ("503 Service Unavailable", "too many connections")
        };
        if let Ok(place) = Arc::clone(&door).try_acquire_owned() {
            spawn_local(turn_away(stream, refused.0, refused.1, place));
        }
    }
}

async fn serve_anybody(engine: Weak<RefCell<Engine>>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let serving = serve(engine.clone(), Scope::Anybody, Box::new(stream), place);
            spawn_local(tokio::time::timeout(PROBE_TIME, serving));
        }
    }
}

/// An answer without a look at the request. It is read all the same: a socket that is closed with something unread
/// is an error at the other end, in place of the answer.
async fn turn_away(
    mut stream: UnixStream,
    status: &str,
    reason: &str,
    _place: OwnedSemaphorePermit,
) {
    let body = format!("{{\"error\":\"{reason}\"}}\n");
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    let farewell = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut ignored = [0; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Who has gone already needs no answer.
    let _ = tokio::time::timeout(DOOR_TIME, farewell).await;
}

/// Both kinds of sockets, so that the server's code is there once.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

async fn serve(
    engine: Weak<RefCell<Engine>>,
    scope: Scope,
    stream: Box<dyn Stream>,
    place: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request| http::answer(engine.clone(), scope, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the control socket");
    }
    drop(place);
}
