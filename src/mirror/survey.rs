//! What there is at both ends, looked at side by side, and the plan that follows from it.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use super::names::Naming;
use super::plan::{Plan, World};
use crate::age::Recipients;
use crate::clock;
use crate::dropbox::files::{Depth, Listed};
use crate::dropbox::users::Space;
use crate::dropbox::{self, Dropbox};
use crate::plugin::config::Settings;
use crate::source::{self, Kind, Listing, Source};
use crate::state::Memory;
use crate::zone::Zone;

/// What both ends answered.
#[derive(Debug)]
pub struct Survey {
    /// The source's list.
    pub listing: Result<Listing, source::Error>,
    /// Files and folders in the mirror folder, below it, too, where the source has paths; and Dropbox's time.
    pub mirrored: Result<Listed, dropbox::Error>,
    /// The source's timezone, or why it is not known.
    pub timezone: Result<Zone, String>,
    /// The space in Dropbox, if it was asked for and there is a limit.
    pub space: Option<Result<Option<Space>, dropbox::Error>>,
}

/// The source's answers, on their way. They are asked for on threads of their own, so that whoever needs them no more
/// does not have to wait.
pub struct Asked {
    listing: Receiver<Result<Listing, source::Error>>,
    timezone: Receiver<Result<Zone, String>>,
}

impl Asked {
    /// Asks `source` for its list, which `listed` is shown as soon as it is there, and for its timezone.
    pub fn new(source: &Arc<dyn Source>, listed: impl FnOnce(&Listing) + Send + 'static) -> Self {
        let listing = answer(source, move |source| {
            let listing = source.list();
            if let Ok(listing) = &listing {
                listed(listing);
            }
            listing
        });
        let timezone = answer(source, |source| source.timezone());
        Self { listing, timezone }
    }
}

/// Asks `source` on a thread.
fn answer<T: Send + 'static>(
    source: &Arc<dyn Source>,
    ask: impl FnOnce(&dyn Source) -> T + Send + 'static,
) -> Receiver<T> {
    let source = Arc::clone(source);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody waits for it any more where the other end is gone.
        let _ = sender.send(ask(source.as_ref()));
    });
    receiver
}

impl Survey {
    /// Asks Dropbox, too, for the space only if `asks_for_space`, and waits for all answers. `None` if a thread has
    /// panicked, which the panic hook has reported.
    pub fn new(
        source: Asked,
        dropbox: &Dropbox,
        settings: &Settings,
        asks_for_space: bool,
    ) -> Option<Self> {
        std::thread::scope(|scope| {
            let space = scope.spawn(|| asks_for_space.then(|| dropbox.space_usage()));
            let mirrored = list(dropbox, settings);
            Some(Self {
                mirrored,
                listing: source.listing.recv().ok()?,
                timezone: source.timezone.recv().ok()?,
                space: space.join().ok()?,
            })
        })
    }
}

/// Lists the mirror folder as deep as the configured source needs it.
///
/// # Errors
/// [`dropbox::Error`].
pub fn list(dropbox: &Dropbox, settings: &Settings) -> Result<Listed, dropbox::Error> {
    let depth = match Kind::of(settings) {
        Kind::Folder => Depth::Subfolders,
        Kind::Uisp => Depth::Folder,
    };
    dropbox.list_folder(&settings.mirror_folder, depth)
}

/// How the configured source's files are named.
pub fn naming(settings: &Settings, zone: Zone) -> Naming {
    match Kind::of(settings) {
        Kind::Folder => Naming::Paths,
        Kind::Uisp => Naming::Dated(zone),
    }
}

/// The plan for both lists, at the time of the mirror's.
pub fn plan(
    listing: &Listing,
    mirrored: &Listed,
    memory: &Memory,
    settings: &Settings,
    zone: Zone,
) -> Plan {
    // What was seen in one source's list says nothing about what another one lacks or still has.
    let of_another_source = Memory::default();
    let proofs = memory;
    let memory = match memory.origin == listing.origin {
        true => memory,
        false => &of_another_source,
    };
    let recipients = settings.encrypt_to.as_ref().map(Recipients::fingerprint);
    let proof = proofs.proof.as_ref().filter(|proof| proof.is_given);
    Plan::new(&World {
        listing,
        files: &mirrored.files,
        seen: &memory.seen,
        on_hold: &memory.on_hold,
        agreed: &memory.agreed,
        mirrored: &memory.mirrored,
        unsealed: &memory.unsealed,
        recipients: recipients.as_deref(),
        proved: proof.map(|proof| proof.recipients.as_str()),
        pending: &memory.pending,
        refused: &memory.refused,
        confirm_cleanup: settings.confirm_cleanup && !memory.tick_is_used,
        inspects: settings.inspect,
        keep_deleted_days: settings.keep_deleted_days,
        keep_older: settings.keep_older.as_ref(),
        naming: naming(settings, zone),
        // Absences are measured by one clock, whatever this machine's shows.
        now: mirrored.time.unwrap_or_else(clock::now),
    })
}
