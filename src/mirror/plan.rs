//! What a run is going to do, computed before it does any of it. Pure: no I/O, no clock, no log.
//!
//! Deletions are the dangerous part. A file is deleted only if all eight rules hold; they are
//! numbered here as in `docs/architecture.md`:
//!
//! 1. it is a managed file in the mirror folder itself;
//! 2. the source's list was whole, and every row of it was usable;
//! 3. the list does not name its id in any state, and nothing that could not be taken may be it;
//! 4. the list has at least one finished backup;
//! 5. its id was seen by this installation in this source's list before, and the file is the one that it
//!    stored or found equal to the backup;
//! 6. no upload failed in this run (the mirror sees to that), and no newer backup of a folder without
//!    a copy is still to come;
//! 7. it has been missing for the configured number of days, no tier of `keepOlder` keeps it, and it is not the
//!    newest complete archive before what is suspect;
//! 8. it is not on hold: a run that would delete everything that this installation knows, or more than
//!    half of it and at least two, deletes none of it until the admin agrees.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::names::{self, Naming};
use crate::age::ENDING;
use crate::backup_id::BackupId;
use crate::dropbox::files::{FileMetadata, ListedFile};
use crate::inspect::Verdict;
use crate::retention::{KeepOlder, Kept};
use crate::row::{Decision, Provenance, Reason, Row, Sealed};
use crate::source::{Backup, Doubt, Listing};
use crate::state::{self, Mirrored, Pending, Seen};

/// A name that Dropbox has refused is tried again after so many days.
const REFUSED_DAYS: i64 = 7;
/// A file with a time in the future is trusted once two runs this far apart have found it the same.
const SAME_FOR: TimeDelta = TimeDelta::seconds(60);

/// Everything a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The source's list.
    pub listing: &'a Listing,
    /// The files in the mirror folder.
    pub files: &'a [ListedFile],
    /// Ids met before.
    pub seen: &'a BTreeMap<BackupId, Seen>,
    /// Ids that wait for the admin's word.
    pub on_hold: &'a BTreeSet<BackupId>,
    /// Those of them for which it was given in an earlier run.
    pub agreed: &'a BTreeSet<BackupId>,
    /// Files verified before.
    pub mirrored: &'a BTreeMap<BackupId, Mirrored>,
    /// Files that are not sealed, verified before sealed ones took their place.
    pub unsealed: &'a BTreeMap<BackupId, Mirrored>,
    /// Fingerprint of the recipients that everything new is sealed to.
    pub recipients: Option<&'a str>,
    /// Fingerprint of those recipients for whom it was shown that what is sealed to them can be opened.
    pub proved: Option<&'a str>,
    /// What earlier runs could not copy.
    pub pending: &'a BTreeMap<BackupId, Pending>,
    /// Names that Dropbox has refused.
    pub refused: &'a BTreeMap<BackupId, DateTime<Utc>>,
    /// The admin agrees to the deletions that are on hold now.
    pub confirm_cleanup: bool,
    /// Whether backups are looked at; if not, what was found earlier counts for nothing.
    pub inspects: bool,
    /// Days for which a deleted backup stays in Dropbox.
    pub keep_deleted_days: u32,
    /// Which of them stay longer.
    pub keep_older: Option<&'a KeepOlder>,
    /// How files are named.
    pub naming: Naming,
    /// The time of the mirror folder's listing, by Dropbox's clock.
    pub now: DateTime<Utc>,
}

/// What a run is going to do, and what will be remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Everything at both ends: the newest first, foreign files last.
    pub rows: Vec<Row>,
    /// Ids seen, after this run's listing.
    pub seen: BTreeMap<BackupId, Seen>,
    /// Ids on hold, after this plan. Those that are deleted leave when they are.
    pub on_hold: BTreeSet<BackupId>,
    /// Those of them for which the admin's word was given.
    pub agreed: BTreeSet<BackupId>,
    /// What is listed and not in the mirror; what is sent leaves when it has arrived.
    pub pending: BTreeMap<BackupId, Pending>,
    /// Why the list is unfit for deletions, if it is.
    pub unfit: Option<Unfit>,
    /// The time of the mirror folder's listing, by Dropbox's clock.
    pub made_at: DateTime<Utc>,
    /// What the newest complete archives that are about to go depend on.
    successions: Vec<Succession>,
}

/// A complete archive that is about to go, and what came after it: it stays if one of these is suspect and none is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Succession {
    name: String,
    successors: BTreeSet<BackupId>,
}

/// Why nothing may be deleted on the word of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Rule 2: some rows could not be used.
    BadRows,
    /// Rule 4: there is no finished backup in it.
    NothingFinished,
}

impl Plan {
    /// Makes the plan.
    pub fn new(world: &World<'_>) -> Self {
        let listed: BTreeSet<&BackupId> = world.listing.backups.iter().map(|b| &b.id).collect();
        let (managed, mut foreign) = sorted_out(world, &listed);
        let unfit = unfit(world.listing);
        let mut plan = Self {
            rows: Vec::with_capacity(world.files.len()),
            seen: next_seen(world, &managed, &listed, unfit.is_some()),
            unfit,
            made_at: world.now,
            ..Self::default()
        };
        for backup in &world.listing.backups {
            let files = managed.get(&backup.id).map_or(&[][..], Vec::as_slice);
            let backup = judged(world, backup);
            plan.rows
                .extend(listed_rows(world, &backup, files, &mut foreign));
        }
        plan.pending = next_pending(world, &plan.rows);
        let awaited = awaited(&plan.rows);
        let has_refused_any = plan.has_refused_any();
        // Rule 1: only managed files are looked at. Rule 3: none whose id is listed.
        let refused_sizes = world.refused_sizes();
        let doubts = Doubts::new(&world.listing.doubts, &refused_sizes);
        let older = older(world, &managed, &plan.rows);
        for (id, files) in managed.iter().filter(|(id, _)| !listed.contains(id)) {
            for &Copy { file, is_sealed } in files {
                let known = world.record(id, is_sealed);
                let known = known.filter(|known| is_own(known, file));
                let sealed = is_sealed.then(|| world.sealed(known));
                // Of the backup, which a sealed file is longer than.
                let bytes = sealed.and_then(|sealed| sealed.bytes);
                let bytes = bytes.unwrap_or(file.metadata.size);
                let made = known
                    .and_then(|known| known.version)
                    .map(|version| version.modified_at);
                let made = made.or(file.metadata.server_modified);
                let decision = match plan.keep_or_delete(world, id) {
                    // Rule 3, what could be it.
                    _ if doubts.concern(id, bytes) => Decision::Keep(Reason::Doubtful),
                    // Rule 5, whose it is.
                    Decision::Delete { .. } if known.is_none() => Decision::Keep(Reason::Strange),
                    // What may be all that the owner can open.
                    Decision::Delete { .. } if world.is_last_to_be_opened(is_sealed, known) => {
                        Decision::Keep(Reason::KeyNotProved)
                    }
                    // What a tier keeps.
                    decision @ Decision::Delete { .. } if older.contains_key(id) => older
                        .get(id)
                        .map_or(decision, |reason| Decision::Keep(*reason)),
                    // Rule 6, what is still to come.
                    Decision::Delete { .. } if awaited > made || has_refused_any => {
                        Decision::Keep(Reason::Awaited)
                    }
                    decision => decision,
                };
                plan.rows.push(Row {
                    name: file.name.clone(),
                    id: Some(id.clone()),
                    backup: None,
                    file: Some(file.metadata.clone()),
                    is_beside: false,
                    sealed,
                    verified_at: known.map(|known| known.verified_at),
                    inspected: world.inspected(known),
                    decision,
                });
            }
        }
        plan.rows.extend(foreign.into_values().map(|file| Row {
            name: file.name.clone(),
            id: None,
            backup: None,
            file: Some(file.metadata.clone()),
            is_beside: false,
            sealed: None,
            verified_at: None,
            inspected: Verdict::NotChecked,
            decision: Decision::Foreign,
        }));
        // A hold ends when its id is listed again. That of a file which is gone ends with it.
        let is_still_missing = |id: &&BackupId| !listed.contains(id) && plan.seen.contains_key(id);
        plan.on_hold = world
            .on_hold
            .iter()
            .filter(is_still_missing)
            .cloned()
            .collect();
        // The admin's word counts for what is on hold when it is given, not for what is new.
        let agreed = plan.on_hold.iter();
        let agreed = agreed.filter(|id| world.confirm_cleanup || world.agreed.contains(id));
        plan.agreed = agreed.cloned().collect();
        plan.successions = successions(world, &plan.rows);
        plan.keep_last_complete();
        plan.hold_back();
        // As long as the rows; what orders them needs as much again.
        drop(managed);
        plan.rows.sort_by_cached_key(|row| {
            let is_foreign = row.decision == Decision::Foreign;
            (
                is_foreign,
                Reverse((time_of(world.naming, row), row.name.clone())),
            )
        });
        plan
    }

    /// All deletions that are planned. They have passed every rule but the sixth, of which the uploads decide; a full
    /// Dropbox has them done before the very uploads that need the room.
    pub fn deletions(&self) -> impl Iterator<Item = &Row> {
        self.decided(|decision| matches!(decision, Decision::Delete { .. }))
    }

    /// Backups to be sent: not in Dropbox, or in another length.
    pub fn uploads(&self) -> impl Iterator<Item = &Row> {
        self.decided(|decision| matches!(decision, Decision::Upload | Decision::Replace(_)))
    }

    /// Files to be compared with their backups.
    pub fn comparisons(&self) -> impl Iterator<Item = &Row> {
        self.decided(|decision| matches!(decision, Decision::Compare(_)))
    }

    /// How many finished backups have their verified file in Dropbox.
    pub fn unchanged(&self) -> usize {
        self.decided(|decision| decision == Decision::Mirrored)
            .count()
    }

    /// Rows with a decision of this kind, the newest first.
    pub fn decided(&self, is_it: impl Fn(Decision) -> bool) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| is_it(row.decision))
    }

    /// Files that stay for `reason`.
    pub fn kept_as(&self, reason: Reason) -> impl Iterator<Item = &Row> {
        self.decided(move |decision| decision == Decision::Keep(reason))
    }

    /// Rules 2, 4, 5 and 7 for an id that is not listed.
    fn keep_or_delete(&self, world: &World<'_>, id: &BackupId) -> Decision {
        if self.unfit.is_some() {
            return Decision::Keep(Reason::ListUnfit);
        }
        if !world.seen.contains_key(id) {
            return Decision::Keep(Reason::NeverSeen);
        }
        let missing_since = self.seen.get(id).and_then(|seen| seen.missing_since);
        let missing_since = missing_since.unwrap_or(world.now);
        let until = retained_until(missing_since, world.keep_deleted_days);
        if until > world.now {
            Decision::Keep(Reason::RetainedUntil(until))
        } else {
            Decision::Delete { missing_since }
        }
    }

    /// As long as what came after it is suspect, the newest complete archive stays.
    fn keep_last_complete(&mut self) {
        let found = |verdict: fn(Verdict) -> bool| -> BTreeSet<BackupId> {
            let rows = self.rows.iter().filter(|row| row.file.is_some());
            let rows = rows.filter(|row| verdict(row.inspected));
            rows.filter_map(|row| row.id.clone()).collect()
        };
        let complete = found(|verdict| verdict == Verdict::Complete);
        let suspect = found(|verdict| verdict.flaw().is_some());
        let successions = self.successions.iter().filter(|succession| {
            let successors = &succession.successors;
            successors.is_disjoint(&complete) && !successors.is_disjoint(&suspect)
        });
        let staying: BTreeSet<&str> = successions.map(|one| one.name.as_str()).collect();
        for row in &mut self.rows {
            let is_due = matches!(row.decision, Decision::Delete { .. });
            if is_due && staying.contains(row.name.as_str()) {
                row.decision = Decision::Keep(Reason::LastComplete);
            }
        }
    }

    /// Rule 8, for what is on hold already and for what would be too much now.
    fn hold_back(&mut self) {
        let is_too_much = self.would_lose_too_much();
        for row in &mut self.rows {
            let (Decision::Delete { .. }, Some(id)) = (row.decision, &row.id) else {
                continue;
            };
            let is_held = is_too_much || self.on_hold.contains(id);
            if is_held && row.file.is_some() && !self.agreed.contains(id) {
                row.decision = Decision::Keep(Reason::OnHold);
                self.on_hold.insert(id.clone());
            }
        }
    }

    /// Whether what would go without the admin's word is everything, or more than what would stay. A sealed copy and one
    /// that is not sealed count once, and as going if one of them goes.
    fn would_lose_too_much(&self) -> bool {
        let (mut going, mut agreed, mut staying) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for row in &self.rows {
            // Files that are not this installation's own are not weighed: in a folder that servers share,
            // the others' files would make any deletion look small.
            let Some(id) = row.id.as_ref().filter(|id| self.seen.contains_key(id)) else {
                continue;
            };
            let side = match row.decision {
                _ if row.is_beside => continue,
                Decision::Upload => &mut staying,
                _ if row.file.is_none() => continue,
                Decision::Keep(Reason::Strange) => continue,
                Decision::Delete { .. } if self.agreed.contains(id) => &mut agreed,
                Decision::Delete { .. } | Decision::Keep(Reason::OnHold) => &mut going,
                _ => &mut staying,
            };
            let [plain, sealed] = side.entry(id).or_insert([0, 0]);
            *(if row.sealed.is_some() { sealed } else { plain }) += 1;
        }
        staying.retain(|id, _| !going.contains_key(id) && !agreed.contains_key(id));
        let weight = |side: &BTreeMap<&BackupId, [usize; 2]>| -> usize {
            side.values().filter_map(|copies| copies.iter().max()).sum()
        };
        // Of one file that is everything, of more it is two at least.
        weight(&going) > weight(&staying)
    }

    /// Decides again about deletions, now that it is known what has become of uploads: one that was refused for
    /// its name may be what a copy is of, and one that did not arrive keeps nothing. Returns whether
    /// more is on hold.
    pub fn weigh_again(&mut self) -> bool {
        let has_refused_any = self.has_refused_any();
        let refused = self.decided(|decision| decision == Decision::Refuse);
        let refused: BTreeSet<u64> = refused
            .filter_map(|row| Some(row.backup.as_ref()?.version?.bytes))
            .collect();
        for row in &mut self.rows {
            let size = row.file.as_ref().map(|file| file.size);
            let size = row.sealed.and_then(|sealed| sealed.bytes).or(size);
            let is_it = size.is_some_and(|size| refused.contains(&size));
            let is_due = matches!(row.decision, Decision::Delete { .. });
            if is_due && is_it {
                row.decision = Decision::Keep(Reason::Doubtful);
            } else if is_due && has_refused_any {
                row.decision = Decision::Keep(Reason::Awaited);
            }
        }
        self.keep_last_complete();
        let held_before = self.on_hold.len();
        self.hold_back();
        self.on_hold.len() > held_before
    }

    /// Whether Dropbox refuses a backup of which no length says what it may be the original of, as all of UISP: if it
    /// refuses each new one, the older ones are all that there is.
    fn has_refused_any(&self) -> bool {
        let mut refused = self.decided(|decision| decision == Decision::Refuse);
        refused.any(|row| {
            row.backup
                .as_ref()
                .is_some_and(|backup| backup.version.is_none())
        })
    }

    /// Decides again about deletions, by a newer list of the same run: what it names stays, and everything
    /// if it is unfit for deletions.
    pub fn heed(&mut self, listing: &Listing) {
        let listed: BTreeSet<&BackupId> = listing.backups.iter().map(|b| &b.id).collect();
        let is_unfit = unfit(listing).is_some();
        for row in &mut self.rows {
            let is_listed = row.id.as_ref().is_some_and(|id| listed.contains(id));
            if (is_unfit || is_listed) && matches!(row.decision, Decision::Delete { .. }) {
                row.decision = Decision::Keep(Reason::ListUnfit);
            }
        }
    }
}

impl World<'_> {
    /// What is known of a backup's file.
    fn record(&self, id: &BackupId, is_sealed: bool) -> Option<&Mirrored> {
        state::known(self.mirrored, self.unsealed, id, is_sealed)
    }

    /// What is known of a sealed file.
    fn sealed(&self, known: Option<&Mirrored>) -> Sealed {
        let inside = known.and_then(|known| known.inside.as_ref());
        let others = |recipients| inside.is_some_and(|inside| inside.recipients != recipients);
        Sealed {
            bytes: inside.map(|inside| inside.bytes),
            is_to_others: self.recipients.is_some_and(others),
        }
    }

    /// When the backup in a file was made that the source does not list any more.
    fn made_at(
        &self,
        id: &BackupId,
        known: Option<&Mirrored>,
        name: &str,
        file: &FileMetadata,
    ) -> Option<DateTime<Utc>> {
        let version = known.and_then(|known| known.version);
        let seen = self.seen.get(id).and_then(|seen| seen.created_at);
        let remembered = version.map(|version| version.modified_at).or(seen);
        // The time in a name is another one in each timezone.
        let told = remembered.or(file.client_modified);
        told.or_else(|| self.naming.made_at(name, file))
    }

    /// What was found in a file that is still the one that was verified.
    fn inspected(&self, known: Option<&Mirrored>) -> Verdict {
        let known = known.filter(|_| self.inspects);
        known.map_or(Verdict::NotChecked, |known| known.inspected)
    }

    /// Whether what is sealed now can be opened, as the owner has shown.
    fn is_key_proved(&self) -> bool {
        self.recipients.is_some() && self.recipients == self.proved
    }

    /// Whether a copy is not sealed as all new ones are, which perhaps nobody can open.
    fn is_last_to_be_opened(&self, is_sealed: bool, known: Option<&Mirrored>) -> bool {
        let is_sealed_anew = is_sealed && !self.sealed(known).is_to_others;
        self.recipients.is_some() && !self.is_key_proved() && !is_sealed_anew
    }

    /// Whose copy a file is, and whether it is sealed. In a folder `x.age` can be the sealed copy of `x` or a copy of
    /// the file `x.age`.
    fn recognise(
        &self,
        listed: &BTreeSet<&BackupId>,
        file: &ListedFile,
    ) -> Option<(BackupId, bool)> {
        let plain = self.naming.recognise(&file.name);
        let (whole, inner) = match (plain, self.naming.recognise_sealed(&file.name)) {
            (Some(whole), Some(inner)) => (whole, inner),
            (plain, inner) => {
                return plain.map(|id| (id, false)).or(inner.map(|id| (id, true)));
            }
        };
        let is_known = |id: &BackupId, is_sealed| {
            let known = self.record(id, is_sealed);
            known.is_some_and(|known| is_unchanged(known, &file.metadata))
        };
        let is_met = |id| listed.contains(id) || self.seen.contains_key(id);
        let is_sealed = is_known(&inner, true)
            || !is_known(&whole, false)
                && is_met(&inner)
                && (self.recipients.is_some() || !is_met(&whole));
        Some(match is_sealed {
            true => (inner, true),
            false => (whole, false),
        })
    }

    /// Lengths of what the source lists and Dropbox has refused.
    fn refused_sizes(&self) -> BTreeSet<u64> {
        let refused = self
            .listing
            .backups
            .iter()
            .filter(|backup| is_refused(self, &backup.id));
        refused
            .filter_map(|backup| backup.version)
            .map(|version| version.bytes)
            .collect()
    }
}

/// What could not be taken, to be asked whether it may be a backup.
struct Doubts<'a> {
    /// Keys of what may be a file there or a folder; the empty one is the whole folder.
    keys: BTreeSet<&'a str>,
    /// Lengths of what is a file.
    sizes: BTreeSet<u64>,
    refused_sizes: &'a BTreeSet<u64>,
}

impl<'a> Doubts<'a> {
    fn new(doubts: &'a [Doubt], refused_sizes: &'a BTreeSet<u64>) -> Self {
        Self {
            keys: doubts.iter().map(|doubt| doubt.key.as_str()).collect(),
            sizes: doubts.iter().filter_map(|doubt| doubt.bytes).collect(),
            refused_sizes,
        }
    }

    /// Whether one of them may be the backup of this copy: at its path or above it, or of its length
    /// anywhere, since whoever gives a name that cannot be taken may give it to a folder.
    fn concern(&self, id: &BackupId, bytes: u64) -> bool {
        let mut places = std::iter::successors(Some(id.key()), |place| {
            let above = place.rsplit_once('/').map_or("", |(above, _)| above);
            (!place.is_empty()).then_some(above)
        });
        places.any(|place| self.keys.contains(place))
            || self.sizes.contains(&bytes)
            || self.refused_sizes.contains(&bytes)
    }
}

/// The backup as this plan takes it: a file whose time lies in the future is finished once an earlier run
/// has found it the same.
fn judged(world: &World<'_>, backup: &Backup) -> Backup {
    let known = world
        .pending
        .get(&backup.id)
        .filter(|known| known.version == backup.version);
    let is_same = known.is_some_and(|known| world.now - known.same_since >= SAME_FOR);
    let has_content = backup.version.is_some_and(|version| version.bytes > 0);
    // What was copied once stays trusted.
    let known = world.mirrored.get(&backup.id);
    let is_copied = known.is_some_and(|known| known.version == backup.version);
    let is_trusted = has_content && (is_same || is_copied);
    Backup {
        finished: backup.finished || (backup.is_from_the_future && is_trusted),
        ..backup.clone()
    }
}

/// Until when a copy stays whose original has been gone since `missing_since`, if it stays for so many days.
pub fn retained_until(missing_since: DateTime<Utc>, days: u32) -> DateTime<Utc> {
    let days = TimeDelta::days(i64::from(days));
    let until = missing_since.checked_add_signed(days);
    until.unwrap_or(missing_since)
}

fn is_refused(world: &World<'_>, id: &BackupId) -> bool {
    // A clock that was ahead once delays nothing.
    let days = TimeDelta::zero()..TimeDelta::days(REFUSED_DAYS);
    let refused_at = world.refused.get(id);
    refused_at.is_some_and(|&at| days.contains(&(world.now - at)))
}

/// What the mirror does not have in its present version, and for how long.
fn next_pending(world: &World<'_>, rows: &[Row]) -> BTreeMap<BackupId, Pending> {
    let is_pending = |row: &&Row| row.decision != Decision::Mirrored && !row.is_beside;
    let backups = rows
        .iter()
        .filter(is_pending)
        .filter_map(|row| row.backup.as_ref());
    let pending = backups.filter(|backup| backup.is_wanted()).map(|backup| {
        let known = world.pending.get(&backup.id);
        let same = known.filter(|known| known.version == backup.version);
        let pending = Pending {
            since: known.map_or(world.now, |known| known.since),
            runs: known.map_or(0, |known| known.runs).saturating_add(1),
            version: backup.version,
            // A clock that was ahead once delays nothing.
            same_since: same.map_or(world.now, |same| same.same_since.min(world.now)),
        };
        (backup.id.clone(), pending)
    });
    pending.collect()
}

/// The newest time of a file that has no copy and cannot be copied yet: what is older may be all that there
/// is of it. A copy of a file that is still being made may have the time of its original.
fn awaited(rows: &[Row]) -> Option<DateTime<Utc>> {
    let waiting = rows.iter().filter(|row| row.decision == Decision::Wait);
    let backups = waiting.filter_map(|row| row.backup.as_ref());
    let versions = backups
        .filter(|backup| backup.is_wanted())
        .filter_map(|backup| backup.version);
    versions
        .map(|version| version.modified_at.max(version.changed_at))
        .max()
}

/// A managed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Copy<'a> {
    file: &'a ListedFile,
    is_sealed: bool,
}

/// Managed files by id; an id can have several, from times in different timezones, sealed ones and others.
type Managed<'a> = BTreeMap<BackupId, Vec<Copy<'a>>>;
/// Files that are not the mirror's, by name, without regard to letter case, as Dropbox has it.
type Foreign<'a> = BTreeMap<String, &'a ListedFile>;

fn sorted_out<'a>(world: &World<'a>, listed: &BTreeSet<&BackupId>) -> (Managed<'a>, Foreign<'a>) {
    let (mut managed, mut foreign) = (Managed::new(), Foreign::new());
    for file in world.files {
        match world.recognise(listed, file) {
            Some((id, is_sealed)) => {
                managed
                    .entry(id)
                    .or_default()
                    .push(Copy { file, is_sealed });
            }
            None => {
                foreign.insert(file.name.to_ascii_lowercase(), file);
            }
        }
    }
    for files in managed.values_mut() {
        files.sort_by(|a, b| a.file.name.cmp(&b.file.name));
    }
    (managed, foreign)
}

/// Why backups that the source no longer has stay for longer: each is the oldest of a period, or from the future. What
/// the source still has takes part, if it is in Dropbox or about to be; of what it no longer has, own copies do. One that
/// is suspect takes no whole one's place: the oldest of those that are not is kept, too.
fn older(world: &World<'_>, managed: &Managed<'_>, listed: &[Row]) -> BTreeMap<BackupId, Reason> {
    let Some(keep_older) = world.keep_older else {
        return BTreeMap::new();
    };
    let is_there = |row: &&Row| row.file.is_some() || row.decision == Decision::Upload;
    let listed = listed.iter().filter(is_there).filter_map(|row| {
        let backup = row.backup.as_ref()?;
        let is_suspect = row.inspected.flaw().is_some();
        Some((&backup.id, (backup.created_at, is_suspect)))
    });
    let listed: BTreeMap<&BackupId, (DateTime<Utc>, bool)> = listed.collect();
    let gone = managed.iter().filter(|(id, _)| !listed.contains_key(id));
    let gone = gone.filter_map(|(id, files)| {
        world.seen.get(id)?;
        let copies = files.iter().filter_map(|&Copy { file, is_sealed }| {
            let known = world.record(id, is_sealed);
            let known = known.filter(|known| is_own(known, file))?;
            let time = world.made_at(id, Some(known), &file.name, &file.metadata)?;
            Some((time, world.inspected(Some(known)).flaw().is_some()))
        });
        Some((id, copies.min()?))
    });
    let gone: Vec<(&BackupId, (DateTime<Utc>, bool))> = gone.collect();
    let mut series: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let all = listed.iter().map(|(id, made)| (*id, *made));
    for (id, (time, is_suspect)) in all.chain(gone.iter().copied()) {
        let backups = series.entry(world.naming.series(id)).or_default();
        backups.push((time, id, is_suspect));
    }
    let mut older = BTreeMap::new();
    for backups in series.values() {
        for takes_suspect in [true, false] {
            let taking_part = backups
                .iter()
                .filter(|(.., is_suspect)| takes_suspect || !is_suspect);
            let taking_part = taking_part.map(|&(time, id, _)| (time, id));
            let kept = keep_older.kept(taking_part, world.now).into_iter();
            let kept = kept.map(|(id, kept): (&BackupId, Kept)| (id.clone(), Reason::Older(kept)));
            older.extend(kept);
        }
    }
    let in_future = gone.iter().filter(|(_, (time, _))| *time > world.now);
    older.extend(in_future.map(|(id, _)| ((*id).clone(), Reason::MadeInFuture)));
    older
}

/// What decides whether complete archives that are about to go are the newest ones: in each series of backups all that
/// were made later, and of a copy that was set aside what has taken its place.
fn successions(world: &World<'_>, rows: &[Row]) -> Vec<Succession> {
    let goes = |row: &Row| {
        let is_due = matches!(row.decision, Decision::Delete { .. });
        is_due && row.inspected == Verdict::Complete
    };
    if !rows.iter().any(goes) {
        return Vec::new();
    }
    let made_at = |row: &Row| {
        let id = row.id.as_ref()?;
        let known = world.record(id, row.sealed.is_some());
        let listed = row.backup.as_ref().map(|backup| backup.created_at);
        listed.or_else(|| world.made_at(id, known, &row.name, row.file.as_ref()?))
    };
    let mut series: BTreeMap<String, Vec<(DateTime<Utc>, &Row)>> = BTreeMap::new();
    let mut successions = Vec::new();
    for row in rows {
        let (Some(id), Some(made_at)) = (&row.id, made_at(row)) else {
            continue;
        };
        let series = series.entry(world.naming.series(id)).or_default();
        series.push((made_at, row));
        let original = names::original(id.key()).and_then(|path| BackupId::of_path(&path).ok());
        if let Some(original) = original.filter(|_| goes(row)) {
            successions.push(Succession {
                name: row.name.clone(),
                successors: BTreeSet::from([original]),
            });
        }
    }
    for backups in series.into_values() {
        let complete = backups.iter().filter(|(_, row)| {
            row.file.is_some() && row.inspected == Verdict::Complete && !row.is_beside
        });
        let newest = complete.max_by_key(|(made_at, _)| *made_at);
        if let Some((newest, row)) = newest.filter(|(_, row)| goes(row)) {
            let later = backups.iter().filter(|(made_at, _)| made_at > newest);
            successions.push(Succession {
                name: row.name.clone(),
                successors: later.filter_map(|(_, row)| row.id.clone()).collect(),
            });
        }
    }
    successions
}

/// The row of a backup that is listed, and those of further files that hold it.
fn listed_rows(
    world: &World<'_>,
    backup: &Backup,
    copies: &[Copy<'_>],
    foreign: &mut Foreign<'_>,
) -> Vec<Row> {
    let seals = world.recipients.is_some();
    let mut given = world.naming.file_name(backup);
    if seals {
        given.push_str(ENDING);
    }
    let verified_as = |copy: &Copy<'_>| {
        let known = world.record(&backup.id, copy.is_sealed);
        known.filter(|known| is_own(known, copy.file))
    };
    let present_as =
        |copy: &Copy<'_>| verified_as(copy).filter(|known| known.version == backup.version);
    // Where nothing is sealed any more, a sealed copy that can be opened is as good as another, until the backup changes.
    let can_be_opened = |known: &Mirrored| {
        let inside = known.inside.as_ref();
        inside.is_some_and(|inside| Some(inside.recipients.as_str()) == world.proved)
    };
    let can_stand_for_it = |copy: &&Copy<'_>| match seals {
        true => copy.is_sealed,
        false => !copy.is_sealed || present_as(copy).is_some_and(can_be_opened),
    };
    let candidates = || copies.iter().filter(can_stand_for_it);
    // The file that stands for the backup: one that was verified, else the first.
    let verified = candidates().find(|copy| verified_as(copy).is_some());
    // A foreign file may hold the backup's place under a name that differs in letter case only,
    // which Dropbox takes for the same. If it has the backup's content, that is as good.
    let key = given.to_ascii_lowercase();
    let namesake = foreign.get(&key).copied().filter(|_| verified.is_none());
    let namesake = namesake.map(|file| Copy {
        file,
        is_sealed: seals,
    });
    let namesake = namesake.filter(|copy| verified_as(copy).is_some());
    if namesake.is_some() {
        foreign.remove(&key);
    }
    let copy = verified.copied().or(namesake);
    let copy = copy.or_else(|| candidates().next().copied());
    let row = |copy: Option<Copy<'_>>, decision| {
        let is_sealed = copy.map_or(seals, |copy| copy.is_sealed);
        let present = copy.as_ref().and_then(present_as);
        Row {
            name: copy.map_or_else(|| given.clone(), |copy| copy.file.name.clone()),
            id: Some(backup.id.clone()),
            backup: Some(backup.clone()),
            file: copy.map(|copy| copy.file.metadata.clone()),
            is_beside: false,
            sealed: is_sealed.then(|| world.sealed(copy.as_ref().and_then(verified_as))),
            verified_at: present.map(|known| known.verified_at),
            inspected: world.inspected(copy.as_ref().and_then(verified_as)),
            decision,
        }
    };
    let decision = match copy {
        _ if !backup.finished => match copy {
            Some(_) => Decision::Keep(Reason::Unfinished),
            None => Decision::Wait,
        },
        None if is_refused(world, &backup.id) => Decision::Refuse,
        None => Decision::Upload,
        Some(copy) => decided(world, backup, copy, verified_as(&copy)),
    };
    let others = copies.iter().filter(|&&other| Some(other) != copy);
    let others = others.map(|other| {
        let decision = match (seals, other.is_sealed) {
            _ if !backup.finished => Decision::Keep(Reason::Unfinished),
            (true, true) | (false, false) => Decision::Keep(Reason::Duplicate),
            (false, true) => Decision::Keep(Reason::SealedEarlier),
            (true, false) => beside_sealed(world, backup, copy.as_ref(), other),
        };
        Row {
            is_beside: true,
            ..row(Some(*other), decision)
        }
    });
    let others: Vec<Row> = others.collect();
    std::iter::once(row(copy, decision)).chain(others).collect()
}

/// What happens to the file that stands for a finished backup; `known` if it is the one that was verified.
fn decided(
    world: &World<'_>,
    backup: &Backup,
    copy: Copy<'_>,
    known: Option<&Mirrored>,
) -> Decision {
    let file = &copy.file.metadata;
    match known {
        Some(known) => {
            // A key that nobody may have is no reason to replace what somebody can open.
            let is_to_others = world.sealed(Some(known)).is_to_others && world.is_key_proved();
            match known.version == backup.version {
                true if is_to_others => Decision::Replace(Provenance::OtherRecipients),
                true => Decision::Mirrored,
                false if is_to_others => Decision::Replace(Provenance::Outdated),
                false => replace_or_compare(backup, known.of_backup().bytes, Provenance::Outdated),
            }
        }
        None => {
            let is_met = world.record(&backup.id, copy.is_sealed).is_some();
            let provenance = match is_met {
                true => Provenance::Changed,
                false => Provenance::Unknown,
            };
            // What is in a sealed file cannot be seen here.
            match copy.is_sealed {
                true => Decision::Replace(provenance),
                false => replace_or_compare(backup, file.size, provenance),
            }
        }
    }
}

/// What happens to a file that is not sealed, beside the sealed one that stands for its backup, if one does: it goes once
/// that is verified and known to be opened, unless it may be more than that. An earlier version stays as long as a replaced
/// copy does.
fn beside_sealed(
    world: &World<'_>,
    backup: &Backup,
    sealed: Option<&Copy<'_>>,
    plain: &Copy<'_>,
) -> Decision {
    let known_of = |copy: &Copy<'_>| {
        let known = world.record(&backup.id, copy.is_sealed);
        known.filter(|known| is_own(known, copy.file))
    };
    let known = sealed.and_then(known_of);
    let inside = known.and_then(|known| known.inside.as_ref());
    let inside = inside.filter(|inside| Some(inside.recipients.as_str()) == world.recipients);
    let (Some(sealed), Some(known), Some(inside)) = (sealed, known, inside) else {
        return Decision::Keep(Reason::NotSealedYet);
    };
    if !world.is_key_proved() {
        return Decision::Keep(Reason::KeyNotProved);
    }
    let file = &plain.file.metadata;
    let Some(own) = known_of(plain) else {
        // Nobody knows where it is from, but whether it is the same can be seen.
        let is_the_same =
            file.content_hash == Some(inside.content_hash) && file.size == inside.bytes;
        let stored = sealed.file.metadata.server_modified;
        return match is_the_same {
            // Another machine would only store it again.
            true if stored.is_some() && file.server_modified > stored => {
                Decision::Keep(Reason::StoredSince)
            }
            true => Decision::Supersede,
            false => Decision::Keep(Reason::Strange),
        };
    };
    let until = retained_until(own.verified_at, world.keep_deleted_days);
    match own.version == backup.version {
        true if known.version != backup.version => Decision::Keep(Reason::NotSealedYet),
        false if until > world.now => Decision::Keep(Reason::RetainedUntil(until)),
        _ => Decision::Supersede,
    }
}

/// A copy of another length differs from its backup; for one of the same, the source is read.
fn replace_or_compare(backup: &Backup, bytes: u64, provenance: Provenance) -> Decision {
    match backup.version {
        Some(version) if version.bytes != bytes => Decision::Replace(provenance),
        _ => Decision::Compare(provenance),
    }
}

/// When a row's backup was made, as far as that is known.
fn time_of(naming: Naming, row: &Row) -> Option<DateTime<Utc>> {
    match (&row.backup, &row.file) {
        (Some(backup), _) => Some(backup.created_at),
        (None, Some(file)) => naming.made_at(&row.name, file),
        (None, None) => None,
    }
}

/// Whether a file is the one that this installation stored or found equal to its backup, and not one that somebody
/// brought back.
fn is_own(known: &Mirrored, file: &ListedFile) -> bool {
    let is_it = known.rev == file.metadata.rev || !known.is_being_deleted;
    is_unchanged(known, &file.metadata) && is_it
}

/// Whether a file is still the one that was verified.
pub fn is_unchanged(known: &Mirrored, file: &FileMetadata) -> bool {
    match file.content_hash {
        Some(hash) => hash == known.content_hash,
        None => file.rev == known.rev,
    }
}

fn unfit(listing: &Listing) -> Option<Unfit> {
    if !listing.problems.is_empty() {
        Some(Unfit::BadRows)
    } else if !listing.backups.iter().any(|backup| backup.finished) {
        Some(Unfit::NothingFinished)
    } else {
        None
    }
}

/// Adds what is listed, dates what has gone missing, and forgets what is neither listed nor in
/// Dropbox. An unfit list adds, but dates and forgets nothing.
fn next_seen(
    world: &World<'_>,
    managed: &Managed<'_>,
    listed: &BTreeSet<&BackupId>,
    unfit: bool,
) -> BTreeMap<BackupId, Seen> {
    let mut seen = world.seen.clone();
    for backup in &world.listing.backups {
        let created_at = backup.version.is_none().then_some(backup.created_at);
        let listed = Seen {
            missing_since: None,
            created_at,
        };
        seen.insert(backup.id.clone(), listed);
    }
    if !unfit {
        seen.retain(|id, _| listed.contains(id) || managed.contains_key(id));
        for (id, seen) in &mut seen {
            if !listed.contains(id) {
                seen.missing_since.get_or_insert(world.now);
            }
        }
    }
    seen
}
