//! How many connections a worker may have on their way to it at one time.
//!
//! Node's primary gives a worker one and waits for the answer, which starves the worker
//! between answers. A few in flight keep it busy; but what is on its way to a worker that
//! hangs waits there until the worker is killed. So a worker has one, and more only while it
//! goes on answering and connections queue up for it most of the time.

/// Pressure for each further connection in flight. Less would open windows for every burst.
const STEP: u32 = 8;

/// The window of one worker.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    limit: u32,
    /// How many more answers than not came after another had to wait, lately.
    pressure: u32,
}

impl Window {
    /// One connection, which may become `limit`.
    pub const fn new(limit: u32) -> Self {
        Self { limit, pressure: 0 }
    }

    /// With `in_flight` connections unanswered, another may be sent.
    pub const fn has_room(self, in_flight: u32) -> bool {
        in_flight < 1 + self.pressure / STEP
    }

    /// The worker has answered for a connection and has `in_flight` left. Another has `waited`
    /// since its last answer.
    pub fn answered(&mut self, in_flight: u32, waited: bool) {
        if waited {
            let most = (self.limit - 1) * STEP;
            self.pressure = most.min(self.pressure + 1);
        } else if in_flight == 0 {
            self.pressure = self.pressure.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(window: &mut Window, times: u32, in_flight: u32, waited: bool) {
        for _ in 0..times {
            window.answered(in_flight, waited);
        }
    }

    #[test]
    fn it_opens_under_pressure_and_closes_without() {
        let mut window = Window::new(3);
        assert!(window.has_room(0) && !window.has_room(1));
        answer(&mut window, STEP - 1, 0, true);
        assert!(!window.has_room(1), "a burst is not enough");
        answer(&mut window, 1, 0, true);
        assert!(window.has_room(1) && !window.has_room(2));
        answer(&mut window, 10 * STEP, 1, true);
        assert!(window.has_room(2) && !window.has_room(3), "its limit");
        answer(&mut window, 10 * STEP, 1, false);
        assert!(
            window.has_room(2),
            "what is in flight shows that it is busy"
        );
        answer(&mut window, 1, 0, false);
        assert!(window.has_room(1) && !window.has_room(2));
        answer(&mut window, STEP, 0, false);
        assert!(!window.has_room(1));
    }
}
