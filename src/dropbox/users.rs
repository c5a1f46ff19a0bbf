//! The one route of the `users` namespace that is asked: how much space there is.
//!
//! Source: <https://github.com/dropbox/dropbox-api-spec/blob/main/users.stone>.

use serde::Deserialize;

use super::{Dropbox, Error};

/// Space in a Dropbox account, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Used by the account, or by the team that it shares its space with.
    pub used: u64,
    /// What there is in all.
    pub allocated: u64,
}

impl Space {
    /// What is left.
    pub fn free(&self) -> u64 {
        self.allocated.saturating_sub(self.used)
    }
}

/// The answer; other fields are ignored.
#[derive(Deserialize)]
struct Usage {
    used: u64,
    allocation: Allocation,
}

#[derive(Deserialize)]
struct Allocation {
    allocated: Option<u64>,
    /// Of the whole team.
    used: Option<u64>,
    /// The member's own limit; 0 means none.
    #[serde(default)]
    user_within_team_space_allocated: u64,
}

impl Dropbox {
    /// How much space there is; one try, because nothing depends on it.
    ///
    /// # Errors
    /// [`Error::MissingScope`] unless the authorization has `account_info.read`, and any other.
    pub fn space_usage(&self) -> Result<Option<Space>, Error> {
        let usage: Usage = self.rpc_once("users/get_space_usage", &())?;
        let allocation = &usage.allocation;
        Ok(match allocation.user_within_team_space_allocated {
            0 => allocation.allocated.map(|allocated| Space {
                used: allocation.used.unwrap_or(usage.used),
                allocated,
            }),
            own => Some(Space {
                used: usage.used,
                allocated: own,
            }),
        })
    }
}
