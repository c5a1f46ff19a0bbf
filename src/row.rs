//! One row for each backup and each file in the mirror folder: what the source lists, what Dropbox has, and
//! what a run does about it and why. Pure.
//!
//! The planner makes rows; run, dry run, `list`, `verify`, log, page and record read them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::backup_id::BackupId;
use crate::dropbox::files::FileMetadata;
use crate::inspect::Verdict;
use crate::retention::Kept;
use crate::source::Backup;
use crate::zone::Zone;

/// A backup, its file in the mirror folder, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the file below the mirror folder, or the one that it would get.
    pub name: String,
    /// Id of the backup; none for a foreign file.
    pub id: Option<BackupId>,
    /// What the source lists.
    pub backup: Option<Backup>,
    /// What is in the mirror folder.
    pub file: Option<FileMetadata>,
    /// Another file stands for the backup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_beside: bool,
    /// Set if the file is sealed, or would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
    /// When this very file was found equal to this version of its backup.
    pub verified_at: Option<DateTime<Utc>>,
    /// Whether what is in the file is a complete archive.
    #[serde(default, skip_serializing_if = "Verdict::is_not_checked")]
    pub inspected: Verdict,
    /// What a run does about it.
    pub decision: Decision,
}

/// What is known of a sealed file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Length of what is inside, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Others than the configured recipients can open it.
    pub is_to_others: bool,
}

/// What a run does about a row, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nothing: the file equals its backup.
    Mirrored,
    /// It is sent.
    Upload,
    /// The file is replaced: it has another length than its backup.
    Replace(Provenance),
    /// The file is compared with its backup, and replaced if it differs.
    Compare(Provenance),
    /// The file is deleted, once everything else has succeeded.
    Delete {
        /// Since when the source has not listed its backup any more.
        missing_since: DateTime<Utc>,
    },
    /// The file, which is not sealed, is deleted once everything else has succeeded: a sealed one has taken its place.
    Supersede,
    /// The file stays although the source has no finished backup that needs it.
    Keep(Reason),
    /// Nothing yet: the source has not finished the backup, and there is no file.
    Wait,
    /// Nothing: Dropbox does not take a file of this name.
    Refuse,
    /// Nothing: the file is not the mirror's.
    Foreign,
}

/// What is known of a file that is not the present version of its backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// It equals an earlier version of its backup.
    Outdated,
    /// It was verified once, and has changed in Dropbox since.
    Changed,
    /// It equals the backup, but is sealed to others than the configured recipients.
    OtherRecipients,
    /// Nobody knows where it is from.
    Unknown,
}

/// Why a managed file stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Rule 2 or 4: the list cannot be trusted that far.
    ListUnfit,
    /// Rule 3: the source names it, but not as finished.
    Unfinished,
    /// Rule 3: another file holds its backup.
    Duplicate,
    /// Rule 3: the source has something that could not be taken, and that may be it.
    Doubtful,
    /// Rule 5: this installation never saw it at the source.
    NeverSeen,
    /// Rule 5: it is not the version that this installation stored or found equal to the backup.
    Strange,
    /// Rule 6: a newer backup is not in Dropbox yet.
    Awaited,
    /// Rule 7: it stays until then.
    RetainedUntil(DateTime<Utc>),
    /// It is the oldest of a period of which one is kept.
    Older(Kept),
    /// It was made at a time that is still to come, so that nobody knows which period it is of.
    MadeInFuture,
    /// It is the newest complete archive, and what came after it is suspect.
    LastComplete,
    /// Rule 8: it waits for the admin's word.
    OnHold,
    /// It is not sealed, and a sealed one that was verified is not there yet.
    NotSealedYet,
    /// Whether the owner can open what is sealed now was not shown yet, and this one is not sealed like that.
    KeyNotProved,
    /// It is not sealed, and was stored by somebody when a sealed one was there.
    StoredSince,
    /// It is sealed, and nothing is to be sealed any more.
    SealedEarlier,
}

impl Row {
    /// The backup, if it is finished.
    pub fn finished(&self) -> Option<&Backup> {
        self.backup.as_ref().filter(|backup| backup.finished)
    }

    /// Whether nothing is left of it: the file was deleted, and there is no backup.
    pub fn is_gone(&self) -> bool {
        self.backup.is_none() && self.file.is_none()
    }

    /// Whether this installation has stored what it is about to replace, or found it equal to its backup.
    pub fn is_own(&self) -> bool {
        use Provenance::{OtherRecipients, Outdated};
        matches!(self.decision, Decision::Replace(Outdated | OtherRecipients))
    }

    /// The lengths before and after, if the backup became less than half as long since it was copied:
    /// the program that makes it may have failed.
    pub fn sudden_shrink(&self) -> Option<(u64, u64)> {
        if self.decision != Decision::Replace(Provenance::Outdated) {
            return None;
        }
        let before = match self.sealed {
            Some(sealed) => sealed.bytes?,
            None => self.file.as_ref()?.size,
        };
        let after = self.backup.as_ref()?.version?.bytes;
        (after < before.div_ceil(2)).then_some((before, after))
    }
}

impl Decision {
    /// The period for which it is kept, if that is why.
    pub fn older(self) -> Option<Kept> {
        match self {
            Self::Keep(Reason::Older(kept)) => Some(kept),
            _ => None,
        }
    }

    /// The word for it, in lists and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mirrored => "mirrored",
            Self::Upload => "upload",
            Self::Replace(_) => "replace",
            Self::Compare(_) => "compare",
            Self::Delete { .. } | Self::Supersede => "delete",
            Self::Keep(_) => "kept",
            Self::Wait => "unfinished",
            Self::Refuse => "refused",
            Self::Foreign => "foreign",
        }
    }

    /// Why, for people; none where the word says it all.
    pub fn reason(self, zone: Zone) -> Option<String> {
        let time = |time: DateTime<Utc>| zone.local(time).format("%Y-%m-%d %H:%M").to_string();
        Some(match self {
            Self::Mirrored | Self::Wait | Self::Foreign => return None,
            Self::Refuse => "Dropbox refuses its name; rename it".into(),
            Self::Upload => "it is not in Dropbox".into(),
            Self::Replace(provenance) | Self::Compare(provenance) => provenance.text().into(),
            Self::Delete { missing_since } => {
                format!("its backup is gone, first missed {}", time(missing_since))
            }
            Self::Supersede => "an encrypted copy has taken its place".into(),
            Self::Keep(reason) => match reason {
                Reason::ListUnfit => "the list of backups cannot be trusted that far".into(),
                Reason::Unfinished => "its backup is listed, but not as finished".into(),
                Reason::Duplicate => "another file holds its backup already".into(),
                Reason::Doubtful => {
                    "the source has something that could not be read and may be its backup".into()
                }
                Reason::NeverSeen => "this installation never saw its backup listed".into(),
                Reason::Strange => {
                    "this installation neither stored it nor ever found it equal to its backup"
                        .into()
                }
                Reason::Awaited => "a newer backup is not in Dropbox yet".into(),
                Reason::RetainedUntil(until) => {
                    format!("its backup is gone; it stays until {}", time(until))
                }
                Reason::Older(kept) => kept.to_string(),
                Reason::LastComplete => "it is the newest complete one; what came after it is suspect".into(),
                Reason::MadeInFuture => "it was made at a time that is still to come".into(),
                Reason::NotSealedYet => "it is not encrypted; it stays until an encrypted copy is verified".into(),
                Reason::KeyNotProved => {
                    "it stays until \"Encryption proof\" shows that you can open what is encrypted now".into()
                }
                Reason::StoredSince => {
                    "somebody stored it after the encrypted copy; another machine needs a folder of its own"
                        .into()
                }
                Reason::SealedEarlier => {
                    "it is encrypted, and new copies are not any more; it is left as it is".into()
                }
                Reason::OnHold => {
                    "on hold, because most of the mirror would be deleted; \"Confirm clean-up\" lets it go".into()
                }
            },
        })
    }
}

impl Provenance {
    fn text(self) -> &'static str {
        match self {
            Self::Outdated => "its backup has changed since",
            Self::Changed => "it has changed in Dropbox since it was verified",
            Self::OtherRecipients => "it is encrypted to other keys than the configured ones",
            Self::Unknown => "this installation has not compared it with its backup yet",
        }
    }
}

impl Reason {
    /// The word for it, in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::ListUnfit => "list_unfit",
            Self::Unfinished => "unfinished",
            Self::Duplicate => "duplicate",
            Self::Doubtful => "doubtful",
            Self::NeverSeen => "never_seen",
            Self::Strange => "strange",
            Self::Awaited => "awaited",
            Self::RetainedUntil(_) => "retained",
            Self::Older(_) => "older",
            Self::MadeInFuture => "made_in_future",
            Self::LastComplete => "last_complete",
            Self::OnHold => "on_hold",
            Self::NotSealedYet => "not_encrypted_yet",
            Self::KeyNotProved => "key_not_proved",
            Self::StoredSince => "stored_since",
            Self::SealedEarlier => "encrypted_earlier",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::backup_id::Version;

    fn time() -> DateTime<Utc> {
        "2026-11-21T23:30:00Z".parse().unwrap()
    }

    fn kept() -> Kept {
        let keep_older: crate::retention::KeepOlder = "1 daily".parse().unwrap();
        keep_older.kept([(time(), 0)], time())[&0]
    }

    /// A row with a file and a backup of these lengths.
    fn row(file: Option<u64>, backup: Option<u64>, decision: Decision) -> Row {
        let id = BackupId::of_path("a.sql").unwrap();
        Row {
            name: "a.sql".into(),
            id: Some(id.clone()),
            backup: backup.map(|bytes| Backup {
                id,
                finished: true,
                created_at: time(),
                version: Some(Version {
                    bytes,
                    modified_at: time(),
                    changed_at: time(),
                    inode: 1,
                }),
                is_from_the_future: false,
                has_failed: false,
            }),
            file: file.map(|size| FileMetadata {
                rev: "1".into(),
                size,
                content_hash: None,
                server_modified: None,
                client_modified: None,
            }),
            is_beside: false,
            sealed: None,
            verified_at: None,
            inspected: Verdict::NotChecked,
            decision,
        }
    }

    #[test]
    fn a_row_is_gone_when_neither_end_has_anything() {
        for (file, backup, is_gone) in [
            (None, None, true),
            (Some(1), None, false),
            (None, Some(1), false),
            (Some(1), Some(1), false),
        ] {
            let row = row(file, backup, Decision::Mirrored);
            assert_eq!(row.is_gone(), is_gone, "{file:?} {backup:?}");
            assert_eq!(row.finished(), row.backup.as_ref());
        }
        let mut unfinished = row(None, Some(1), Decision::Wait);
        unfinished.backup.as_mut().unwrap().finished = false;
        assert_eq!(unfinished.finished(), None);
    }

    #[test]
    fn a_backup_of_less_than_half_its_earlier_length_has_shrunk_suddenly() {
        let outdated = Decision::Replace(Provenance::Outdated);
        for (before, after, is_sudden) in [
            (100, 49, true),
            (100, 50, false),
            (3, 1, true),
            (3, 2, false),
            (1, 0, true),
            (0, 0, false),
        ] {
            let told = row(Some(before), Some(after), outdated).sudden_shrink();
            assert_eq!(told, is_sudden.then_some((before, after)));
        }
        for other in [
            Decision::Replace(Provenance::Changed),
            Decision::Compare(Provenance::Outdated),
        ] {
            let told = row(Some(100), Some(1), other).sudden_shrink();
            assert_eq!(told, None, "{other:?}");
        }
    }

    #[test]
    fn every_decision_and_reason_is_told_from_the_others() {
        let reasons = [
            Reason::ListUnfit,
            Reason::Unfinished,
            Reason::Duplicate,
            Reason::Doubtful,
            Reason::NeverSeen,
            Reason::Awaited,
            Reason::RetainedUntil(time()),
            Reason::Older(kept()),
            Reason::MadeInFuture,
            Reason::LastComplete,
            Reason::OnHold,
            Reason::NotSealedYet,
            Reason::KeyNotProved,
            Reason::StoredSince,
            Reason::SealedEarlier,
        ];
        let explained = [
            Decision::Upload,
            Decision::Replace(Provenance::Changed),
            Decision::Compare(Provenance::Unknown),
            Decision::Delete {
                missing_since: time(),
            },
            Decision::Refuse,
        ];
        let plain = [Decision::Mirrored, Decision::Wait, Decision::Foreign];

        let decisions = explained.iter().chain(&plain);
        let words: BTreeSet<&str> = decisions.map(|decision| decision.word()).collect();
        assert_eq!(words.len(), explained.len() + plain.len());
        assert!(!words.contains(Decision::Keep(Reason::OnHold).word()));
        let words: BTreeSet<&str> = reasons.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), reasons.len());

        let zone: Zone = "Europe/Vienna".parse().unwrap();
        let mut texts = BTreeSet::new();
        let kept = reasons.map(Decision::Keep);
        let others = [
            Decision::Replace(Provenance::Outdated),
            Decision::Replace(Provenance::OtherRecipients),
            Decision::Supersede,
        ];
        for decision in explained.iter().chain(&kept).chain(&others) {
            let text = decision.reason(zone).unwrap();
            let is_dated = matches!(
                decision,
                Decision::Delete { .. } | Decision::Keep(Reason::RetainedUntil(_))
            );
            assert_eq!(text.contains("2026-11-22 00:30"), is_dated, "{text}");
            assert!(texts.insert(text), "{decision:?}");
        }
        for decision in plain {
            assert_eq!(decision.reason(zone), None);
        }
    }
}
