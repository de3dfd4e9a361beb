//! A JavaScript function that any thread can call: Node-API's thread-safe function.

use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi::bindgen_prelude::Function;
use napi::{Env, Error, JsValue, Result, Status};
use napi_sys as node;

/// Shown by tools that look for handles that are still open.
const RESOURCE_NAME: &str = "egg-cluster-rs";

/// Is told how many bytes each text had that the function has dealt with.
pub type Taken = Box<dyn Fn(usize) + Send + Sync>;

/// What both threads share.
struct Shared {
    slot: Slot,
    taken: Taken,
}

/// Node's object; none once it has gone, or must not be used any more.
type Slot = Mutex<Option<Raw>>;

#[derive(Clone, Copy)]
struct Raw(node::napi_threadsafe_function);

// SAFETY: Node allows its thread-safe function to be called and released from any thread.
unsafe impl Send for Raw {}

/// A function that takes a text. It keeps the event loop of its thread alive until it is
/// dropped, and does nothing once that thread has ended.
pub struct Callback {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Callback {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Callback")
    }
}

impl Callback {
    /// Makes a function callable from other threads. `taken` is called on the thread of the function,
    /// after each call of it.
    ///
    /// # Errors
    /// Where Node has no memory left, or is ending the thread.
    pub fn new(env: &Env, function: &Function<'_, String, ()>, taken: Taken) -> Result<Self> {
        let slot = Slot::new(None);
        let shared = Arc::new(Shared { slot, taken });
        let name = env.create_string(RESOURCE_NAME)?;
        let context = Arc::into_raw(Arc::clone(&shared))
            .cast_mut()
            .cast::<c_void>();
        let mut raw = ptr::null_mut();
        // SAFETY: env and both values belong to the call that is being answered. `context` is an
        // Arc<Shared> that `finalize` takes back, and `call_js` looks at before; `raw` has room for the result.
        let status = unsafe {
            node::napi_create_threadsafe_function(
                env.raw(),
                function.raw(),
                ptr::null_mut(),
                name.raw(),
                0,
                1,
                context,
                Some(finalize),
                context,
                Some(call_js),
                &raw mut raw,
            )
        };
        if status != node::Status::napi_ok {
            // SAFETY: nothing was made, so `finalize` will not take it.
            drop(unsafe { Arc::from_raw(context.cast::<Shared>()) });
            return Err(Error::from_status(Status::from(status)));
        }
        *lock(&shared.slot) = Some(Raw(raw));
        Ok(Self { shared })
    }

    /// Has the function called with a text. What it throws is an uncaught exception.
    pub fn call(&self, text: String) {
        let mut slot = lock(&self.shared.slot);
        let Some(raw) = *slot else { return };
        let data = Box::into_raw(Box::new(text));
        // SAFETY: while the slot has it, Node's object is there. `call_js` takes the box.
        let status = unsafe {
            node::napi_call_threadsafe_function(
                raw.0,
                data.cast(),
                node::ThreadsafeFunctionCallMode::nonblocking,
            )
        };
        if status != node::Status::napi_ok {
            // SAFETY: Node has not taken it.
            drop(unsafe { Box::from_raw(data) });
            // The thread is ending. By this answer Node has forgotten us: no release after it.
            *slot = None;
        }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        if let Some(raw) = lock(&self.shared.slot).take() {
            // SAFETY: as in `call`; it is not used after this. An error has nothing to be done about.
            let _ = unsafe {
                node::napi_release_threadsafe_function(
                    raw.0,
                    node::ThreadsafeFunctionReleaseMode::release,
                )
            };
        }
    }
}

fn lock(slot: &Slot) -> MutexGuard<'_, Option<Raw>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Node's object goes: after the release, or with its thread.
unsafe extern "C" fn finalize(_: node::napi_env, context: *mut c_void, _: *mut c_void) {
    // SAFETY: made by `Callback::new`, and given to this function once.
    let shared = unsafe { Arc::from_raw(context.cast::<Shared>()) };
    *lock(&shared.slot) = None;
}

/// Runs on the thread of the function.
unsafe extern "C" fn call_js(
    env: node::napi_env,
    function: node::napi_value,
    context: *mut c_void,
    data: *mut c_void,
) {
    // SAFETY: made by `Callback::call`, and given to this function once.
    let text = unsafe { Box::from_raw(data.cast::<String>()) };
    if env.is_null() {
        // The thread is ending: nobody listens any more.
        return;
    }
    let context = context.cast_const().cast::<Shared>();
    // SAFETY: made by `Callback::new` of an Arc that `finalize` takes back, which has not run yet. It may
    // run during the call, so this is a share of our own.
    let shared = unsafe {
        Arc::increment_strong_count(context);
        Arc::from_raw(context)
    };
    deliver(env, function, &text);
    (shared.taken)(text.len());
}

/// Calls the function with the text.
fn deliver(env: node::napi_env, function: node::napi_value, text: &str) {
    let mut argument = ptr::null_mut();
    let mut receiver = ptr::null_mut();
    let mut result = ptr::null_mut();
    // SAFETY: env and function are those of this call; each result has its room.
    unsafe {
        let length = text.len().cast_signed();
        if node::napi_create_string_utf8(env, text.as_ptr().cast(), length, &raw mut argument)
            != node::Status::napi_ok
            || node::napi_get_undefined(env, &raw mut receiver) != node::Status::napi_ok
        {
            return;
        }
        let status = node::napi_call_function(
            env,
            receiver,
            function,
            1,
            &raw const argument,
            &raw mut result,
        );
        if status == node::Status::napi_pending_exception {
            let mut thrown = ptr::null_mut();
            if node::napi_get_and_clear_last_exception(env, &raw mut thrown)
                == node::Status::napi_ok
            {
                node::napi_fatal_exception(env, thrown);
            }
        }
    }
}
