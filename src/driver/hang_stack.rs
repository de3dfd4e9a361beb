//! Reads the JavaScript stack of a hung process: opens its inspector, has it stop, and asks.
//!
//! SIGUSR1 opens Node's inspector even in an endless loop. Node does not tell the master on
//! which port; it is found as the one that has appeared among the descriptors of the process.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Weak;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::engine::Engine;
use super::inspector::Debugger;
use crate::core::event::{ChildId, StackFrame};
use crate::core::hang_stack::LIMIT;
use crate::sys::inspector::{self, Listening};

/// Before the core loses its patience, so that the reason is known.
const MARGIN: Duration = Duration::from_millis(200);
/// Between two looks for the port: nothing tells when it opens.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Another hung worker may have the port until it is killed: Node is asked again.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(300);

/// What is waited for.
#[derive(Clone, Copy)]
enum Step {
    Opening,
    Connecting,
    Pausing,
}

/// Asks one child, and tells the core.
pub(super) async fn ask(engine: Weak<RefCell<Engine>>, child: ChildId, pid: i32) {
    let limit = LIMIT.saturating_sub(MARGIN);
    let step = Cell::new(Step::Opening);
    let stack = match timeout(limit, read(&engine, child, pid, &step)).await {
        Ok(Ok(frames)) => Ok(frames),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(too_late(step.get(), limit)),
    };
    if let Some(engine) = engine.upgrade() {
        engine.borrow_mut().tell_stack(child, stack);
    }
}

fn too_late(step: Step, limit: Duration) -> String {
    let what = match step {
        Step::Opening => {
            "its inspector did not open (port 9229 is in use, or it is not in JavaScript)"
        }
        Step::Connecting => "its inspector did not answer",
        Step::Pausing => "it did not come to a point where JavaScript can be stopped",
    };
    format!("{what} within {}ms", limit.as_millis())
}

async fn read(
    engine: &Weak<RefCell<Engine>>,
    child: ChildId,
    pid: i32,
    step: &Cell<Step>,
) -> io::Result<Vec<StackFrame>> {
    let port = open(engine, child, pid).await?;
    step.set(Step::Connecting);
    let mut debugger = Debugger::connect(port).await?;
    step.set(Step::Pausing);
    debugger.pause().await
}

/// Opens the inspector; returns its port.
async fn open(engine: &Weak<RefCell<Engine>>, child: ChildId, pid: i32) -> io::Result<u16> {
    let mut known = look(move || inspector::listening(pid)).await?;
    let mut signalled: Option<Instant> = None;
    loop {
        if signalled.is_none_or(|at| at.elapsed() >= SIGNAL_INTERVAL) {
            let engine = engine.upgrade().ok_or(io::ErrorKind::NotFound)?;
            engine.borrow().open_inspector(child)?;
            signalled = Some(Instant::now());
        }
        sleep(LOOK_INTERVAL).await;
        let found;
        (known, found) = look(move || find_new(pid, known)).await?;
        if let Some(socket) = found {
            return Ok(socket.port);
        }
    }
}

/// A socket of this process that was not known. New ones of others are known afterwards.
fn find_new(
    pid: i32,
    mut known: Vec<Listening>,
) -> io::Result<(Vec<Listening>, Option<Listening>)> {
    for socket in inspector::listening(pid)? {
        if !known.contains(&socket) {
            if inspector::owns(pid, socket)? {
                return Ok((known, Some(socket)));
            }
            known.push(socket);
        }
    }
    Ok((known, None))
}

/// Reads `/proc` where it holds up no connection.
async fn look<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(read).await.map_err(io::Error::other)?
}
