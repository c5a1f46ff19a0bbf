//! What a cell should come to, derived from the fault's nature and the request's part in the run.

use sandbox::http::Action;

use super::faults::Nature;
use super::hosts::{Host, Trouble};
use super::requests::{Kind, Part, Service};

/// One run with one fault.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Its name, without how long the fault lasts.
    pub name: String,
    /// What kind of request is hit.
    pub kind: Kind,
    /// From the first such request on every one; else only the first.
    pub lasting: bool,
    /// What hits it.
    pub attack: Attack,
    /// What the run should come to.
    pub expected: Expected,
    /// How many times faster than the wall's the program's clock runs.
    pub speed: u32,
}

impl Cell {
    /// Whether a run that waits for silent answers may have had its last try when its time is over, or not: nobody can
    /// foretell.
    pub fn may_be_out_of_tries(&self) -> bool {
        self.expected.end == End::OutOfTime && self.kind.is_upload()
    }

    /// Whether the service asks for patience until the run's time is over. Whether the last try is the run's end or is
    /// cut short by it, nobody can foretell.
    pub fn uses_up_the_time(&self) -> bool {
        let asks = |code| matches!(code, 429 | 503);
        matches!(self.attack, Attack::Answer(Action::Status { code, .. }) if asks(code))
            && self.lasting
    }
}

/// What hits a request.
#[derive(Clone, Debug)]
pub enum Attack {
    /// The server misbehaves.
    Answer(Action),
    /// The whole host does, from the start.
    Host(Host, Trouble),
    /// The whole host goes away while it has the request.
    HostLeaves,
    /// The access token expires after a request of this kind, and the answer that says so is cut.
    BrokenExpiry {
        /// The request before.
        after: Kind,
    },
}

/// What a run should come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// How it should end.
    pub end: End,
    /// What its ERROR or WARNING should say, among others.
    pub says: &'static str,
}

impl Expected {
    /// The same where everything is encrypted.
    pub fn sealed(self, kind: Kind, lasting: bool) -> Self {
        let end = match (kind, self.end) {
            // Of a strange file nobody can see that it differs.
            (Kind::Copy, End::Warned) => End::Well,
            // A doubtful commit that cannot be looked for is left to the next run: sent again, it would be another file.
            (Kind::Metadata, End::Well) if lasting => End::BackupFailed,
            _ => return self,
        };
        Self { end, says: "" }
    }
}

/// How a run should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As if nothing had happened.
    Well,
    /// Well, with everything uploaded, but deletions may be left for the next run.
    WellWithoutDeletions,
    /// Well, with a WARNING.
    Warned,
    /// Nothing was mirrored, and why is said.
    NothingMirrored,
    /// The same, and the code is spent: a fresh address is shown.
    CodeSpent,
    /// One backup was not uploaded, and nothing deleted.
    BackupFailed,
    /// The same, but deletions were done to make room for it, as is allowed when Dropbox is full.
    BackupFailedDeletionsDone,
    /// Dropbox takes no file of one backup's name; all else was done, but nothing was deleted.
    NameRefused,
    /// All was mirrored that there was, but no fresh backup was made.
    FreshBackupFailed,
    /// All was uploaded, but a deletion failed.
    DeletionFailed,
    /// The time limit ended the run; what was not done is left for the next.
    OutOfTime,
    /// Well; or one backup was not uploaded, but the other was, and nothing deleted. How patient a
    /// run is, and how it says so, is open.
    OthersGoOn,
    /// One backup was refused because of UISP's token, with which no other needs to be tried.
    TokenRefused,
}

/// What a client should do about a fault that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    /// Try again.
    Again,
    /// Renew the access token, then try again.
    Renew,
    /// Give up: trying again cannot help.
    GiveUp,
}

fn treatment(nature: Nature, kind: Kind) -> Treatment {
    use Treatment::{Again, GiveUp, Renew};
    match (nature, kind.service()) {
        (
            Nature::Passing
            | Nature::AnswerLost
            | Nature::Silence
            | Nature::Trickle
            | Nature::Patience,
            _,
        ) => Again,
        (Nature::LongPatience, _) => GiveUp,
        // Dropbox's own answers are JSON of a known shape, so something on the way was at work.
        (Nature::Garbage, Service::Token | Service::Dropbox) => Again,
        // A job's state that is not known may be a new one: asking again would not change it.
        (Nature::GarbageJson, Service::Dropbox) if kind.part() == Part::Deletion => GiveUp,
        (Nature::GarbageJson, Service::Token | Service::Dropbox) => Again,
        // UISP's login page answers like this, and will go on doing so.
        (Nature::Garbage | Nature::GarbageJson, Service::Uisp) => GiveUp,
        // Only OAuth's own errors are the token endpoint's word; the rest comes from somebody on
        // the way.
        (_, Service::Token) => Again,
        (Nature::Expired, Service::Dropbox) => Renew,
        (_, Service::Dropbox | Service::Uisp) => GiveUp,
    }
}

/// What a client should say once it has given up.
fn advice(nature: Nature, kind: Kind) -> &'static str {
    match (kind.service(), nature) {
        (
            Service::Uisp,
            Nature::Expired | Nature::Unauthorized | Nature::MissingScope | Nature::Forbidden,
        ) if kind == Kind::Create => "read and write access",
        (Service::Uisp, Nature::NotFound) if kind == Kind::Create => {
            "Untick \"Create a fresh backup first\""
        }
        (Service::Dropbox, Nature::MissingScope) => "files.content.write on its Permissions tab",
        (Service::Dropbox, Nature::Expired | Nature::Unauthorized) => "To authorize again",
        (Service::Dropbox, Nature::Forbidden) => "have the firewall or proxy let this server",
        (
            Service::Uisp,
            Nature::Expired | Nature::Unauthorized | Nature::MissingScope | Nature::Forbidden,
        ) => "Make a new token in UISP",
        (Service::Uisp, Nature::NotFound) if kind.is_download() => "deleted in UISP since",
        _ => "next run tries again",
    }
}

/// How a run ends that had to do without the answer.
pub fn failure(kind: Kind) -> End {
    match kind.part() {
        Part::Everything => End::NothingMirrored,
        Part::OneBackup => End::BackupFailed,
        Part::FreshBackup => End::FreshBackupFailed,
        Part::Deletion => End::DeletionFailed,
        Part::Nothing if kind == Kind::Settings => End::Warned,
        Part::Nothing => End::Well,
    }
}

/// What a cell should come to.
pub fn expected(nature: Nature, kind: Kind, lasting: bool) -> Expected {
    let well = match kind {
        // A file that nobody knows is told about.
        Kind::Copy => Expected {
            end: End::Warned,
            says: "set aside under another name",
        },
        _ => Expected {
            end: End::Well,
            says: "",
        },
    };
    let failed = Expected {
        end: failure(kind),
        says: match kind {
            Kind::Settings => "timezone is not known",
            _ => advice(nature, kind),
        },
    };
    let out_of_time = Expected {
        end: End::OutOfTime,
        says: "left for the next run",
    };
    match (kind, nature, lasting) {
        (kind, Nature::Trickle, _) if kind.is_download() => {
            return Expected {
                end: End::OthersGoOn,
                says: "",
            };
        }
        // The answer to an upload is waited for so long that the run ends before its tries do.
        (kind, Nature::Silence, true) if kind.is_upload() => return out_of_time,
        (
            kind,
            Nature::Expired | Nature::Unauthorized | Nature::MissingScope | Nature::Forbidden,
            _,
        ) if kind.is_download() => {
            return Expected {
                end: End::TokenRefused,
                says: advice(nature, kind),
            };
        }
        // The file is looked for.
        (Kind::Finish | Kind::Copy, nature, _) if nature.is_carried_out() => return well,
        // The new backup stands in the list, which is looked at after each try.
        (Kind::Create, nature, _) if nature.is_carried_out() => return well,
        // A code buys a token once, and this one was spent without anybody getting the token.
        (kind, nature, false) if kind.is_code() && nature.is_carried_out() => {
            return Expected {
                end: End::CodeSpent,
                says: "paste the new code",
            };
        }
        _ => {}
    }
    match (treatment(nature, kind), lasting) {
        (Treatment::Again | Treatment::Renew, false) => well,
        (Treatment::Again | Treatment::Renew, true) | (Treatment::GiveUp, _) => failed,
    }
}

/// The clock's speed for a cell: fast where a run waits in vain, but never so fast that the
/// timeouts of healthy requests shrink to nothing.
pub fn speed(nature: Nature, kind: Kind, lasting: bool) -> u32 {
    match (kind, lasting) {
        // A healthy exchange that times out would cost the code.
        (kind, false) if kind.is_code() => 40,
        (kind, _) if kind.is_download() && nature == Nature::Trickle => 400,
        (kind, true) if kind.is_upload() && nature == Nature::Silence => 400,
        (kind, false) if kind.is_upload() && nature == Nature::Silence => 300,
        (_, false) => 100,
        (_, true) => 200,
    }
}
