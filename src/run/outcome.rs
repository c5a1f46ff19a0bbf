//! What a run came to, and its last line.

use super::End;
use crate::clock::{Stop, StopReason};
use crate::mirror::Summary;
use crate::setup::NotAuthorized;
use crate::text;

/// What a run came to.
pub enum Outcome {
    /// It ended in setup.
    Setup(NotAuthorized),
    /// Source or mirror folder could not be read, or the configuration cannot be used.
    NotMirrored,
    /// It had to stop before it knew what to do.
    Stopped,
    /// It mirrored, with this result.
    Mirrored { summary: Summary, unchanged: usize },
}

impl Outcome {
    /// What was done.
    pub fn summary(&self) -> Summary {
        match self {
            Self::Mirrored { summary, .. } => *summary,
            _ => Summary::default(),
        }
    }

    /// Whether something failed.
    pub fn has_failed(&self) -> bool {
        match self {
            Self::Mirrored { summary, .. } => summary.failed > 0,
            Self::Setup(NotAuthorized::Failed) | Self::NotMirrored => true,
            Self::Setup(NotAuthorized::Waiting | NotAuthorized::Stopped) | Self::Stopped => false,
        }
    }

    /// Whether every backup is in Dropbox.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Mirrored { summary, .. } if summary.failed == 0 && summary.left == 0)
    }

    /// The same with one more failure.
    pub fn failed(self) -> Self {
        match self {
            Self::Mirrored {
                mut summary,
                unchanged,
            } => {
                summary.failed += 1;
                Self::Mirrored { summary, unchanged }
            }
            _ => Self::NotMirrored,
        }
    }
}

/// Writes the last line of the run.
pub fn report(outcome: &Outcome, stop: &Stop) -> End {
    let took = text::duration(stop.age());
    let Outcome::Mirrored { summary, unchanged } = outcome else {
        return match outcome {
            Outcome::Setup(NotAuthorized::Waiting) => {
                log::info!(
                    "Finished: waiting for the next step of the setup; nothing was mirrored."
                );
                End::Done
            }
            Outcome::Setup(NotAuthorized::Stopped) | Outcome::Stopped => {
                log::warn!(
                    "Finished early, because the run was asked to stop or took too long: nothing was mirrored, in {took}. The next run carries on."
                );
                End::Done
            }
            _ => {
                log::error!(
                    "Finished: nothing was mirrored, in {took}. The errors above say what to do."
                );
                End::Failed
            }
        };
    };
    let mut parts = vec![
        format!(
            "{} uploaded ({})",
            summary.uploaded,
            text::bytes(summary.uploaded_bytes)
        ),
        format!("{} deleted", summary.deleted),
        format!("{} unchanged", unchanged + summary.verified),
    ];
    if summary.left > 0 {
        parts.push(format!("{} left for the next run", summary.left));
    }
    if summary.failed > 0 {
        parts.push(format!("{} failed", summary.failed));
    }
    let parts = parts.join(", ");
    if summary.failed > 0 {
        log::error!("Finished: {parts}, in {took}. The errors above say what to do.");
        return End::Failed;
    }
    match stop.requested().or(stop.winding_down()) {
        Some(StopReason::Signal) => log::warn!(
            "Finished early, because the run was asked to stop: {parts}, in {took}. The next run carries on."
        ),
        Some(StopReason::TimeLimit) if summary.left > 0 => log::warn!(
            "Finished early, because the host ends runs after an hour: {parts}, in {took}. The next run carries on."
        ),
        _ => log::info!("Finished: {parts}, in {took}."),
    }
    End::Done
}
