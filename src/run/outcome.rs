//! What a run came to, and its last line.

use super::End;
use crate::clock::{Stop, StopReason};
use crate::findings::{Findings, table};
use crate::mirror::Summary;
use crate::setup::NotAuthorized;
use crate::text;

/// What a run came to; what failed stands in its findings.
pub enum Outcome {
    /// It ended in setup.
    Setup(NotAuthorized),
    /// Source or mirror folder could not be read, or the configuration cannot be used.
    NotMirrored,
    /// It had to stop before it knew what to do.
    Stopped,
    /// It mirrored, with this result.
    Mirrored(Summary),
}

impl Outcome {
    /// What was done.
    pub fn summary(&self) -> Summary {
        match self {
            Self::Mirrored(summary) => *summary,
            _ => Summary::default(),
        }
    }

    /// Whether the admin has been shown the next step, which is no run worth a record.
    pub fn waits_for_setup(&self) -> bool {
        matches!(self, Self::Setup(NotAuthorized::Waiting))
    }

    /// Whether it came to the end of what was to be done, and found nothing that may be missing.
    pub fn is_complete(&self, findings: &Findings) -> bool {
        let is_at_end = matches!(self, Self::Mirrored(summary) if summary.left == 0);
        is_at_end && findings.errors() + findings.gaps() == 0
    }

    /// Writes the last line of the run.
    pub fn end(&self, findings: &Findings, stop: &Stop) -> End {
        let errors = findings.errors();
        let took = text::duration(stop.age());
        let nothing = "nothing was mirrored";
        let finding = match self {
            Self::Setup(NotAuthorized::Waiting) if errors == 0 => table::finished_waiting(),
            Self::Setup(NotAuthorized::Stopped) | Self::Stopped if errors == 0 => {
                let reason = "the run was asked to stop or took too long";
                table::finished_early(reason, nothing, &took)
            }
            Self::Mirrored(summary) => {
                let parts = parts(summary, errors);
                let reason = match stop.requested().or(stop.winding_down()) {
                    _ if errors > 0 => None,
                    Some(StopReason::Signal) => Some("the run was asked to stop"),
                    Some(StopReason::TimeLimit) if summary.left > 0 => {
                        Some("the host ends runs after an hour")
                    }
                    _ => None,
                };
                match reason {
                    Some(reason) => table::finished_early(reason, &parts, &took),
                    None if errors > 0 => table::finished_with_errors(&parts, &took),
                    None => table::finished(&parts, &took),
                }
            }
            _ => table::finished_with_errors(nothing, &took),
        };
        finding.log();
        if errors > 0 { End::Failed } else { End::Done }
    }
}

/// What was done, in numbers.
fn parts(summary: &Summary, errors: usize) -> String {
    let mut parts = vec![
        format!(
            "{} uploaded ({})",
            summary.uploaded,
            text::bytes(summary.uploaded_bytes)
        ),
        format!("{} deleted", summary.deleted),
        format!("{} unchanged", summary.unchanged),
    ];
    if summary.left > 0 {
        parts.push(format!("{} left for the next run", summary.left));
    }
    if errors > 0 {
        parts.push(format!("{errors} failed"));
    }
    parts.join(", ")
}
