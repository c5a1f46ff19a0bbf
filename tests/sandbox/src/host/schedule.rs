//! The host's clock for planned runs: starts what "Execute manually", or the plugin itself, has asked for.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Run;
use super::web::Site;

/// The real host looks about once a minute; nobody should have to wait here.
const INTERVAL: Duration = Duration::from_millis(50);

/// Starts planned runs until it is dropped, which kills a run under way.
#[derive(Debug)]
pub struct Schedule {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Schedule {
    /// Looks after the plugin of a site.
    #[must_use]
    pub fn start(site: Arc<Site>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut run: Option<Run> = None;
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // A run that cannot be looked after any more is as good as ended.
                if run
                    .as_mut()
                    .is_some_and(|run| !run.has_ended().unwrap_or(true))
                {
                    continue;
                }
                // Dropped first: that takes the running marker away.
                drop(run.take());
                match site.plugin().start_requested() {
                    Ok(started) => run = started,
                    Err(error) => site.set_message(&error.to_string()),
                }
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
