//! The kinds of requests that a run sends, and how to hit them.

use sandbox::http::On;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The token endpoint, exchanging a pasted code with the app secret.
    Code,
    /// The same without a secret, with a verifier.
    CodeWithVerifier,
    /// The token endpoint, renewing the access.
    Refresh,
    /// The same in the middle of a run, whose access token has expired.
    Renew,
    /// The first page of the mirror folder.
    List,
    /// The pages that follow.
    Continue,
    /// A small backup, whole.
    StartSmall,
    /// The session of a large backup.
    StartLarge,
    /// A block of a large backup.
    Append,
    /// The request that closes a large backup's session.
    Close,
    /// The commit.
    Finish,
    /// The deletion.
    Delete,
    /// The question whether the deletion is done.
    Check,
    /// The look for a file whose commit is in doubt.
    Metadata,
    /// The second copy of a file that nobody knows, before it is replaced.
    Copy,
    /// The question for the space that is left.
    Space,
    /// The request for a fresh backup.
    Create,
    /// UISP's list of backups.
    Backups,
    /// UISP's settings.
    Settings,
    /// A backup, read to be uploaded.
    Download,
    /// A backup, read to be compared with a file that another program uploaded.
    Compare,
}

/// Which service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Dropbox's token endpoint.
    Token,
    /// Dropbox's API proper.
    Dropbox,
    /// UISP.
    Uisp,
}

/// What a run needs the answer for, and so what it cannot do without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Without it nothing can be mirrored.
    Everything,
    /// Without it one backup stays behind.
    OneBackup,
    /// Without it there is no fresh backup, and all else is done.
    FreshBackup,
    /// Without it nothing is deleted, or nobody knows whether it was.
    Deletion,
    /// It can be done without.
    Nothing,
}

impl Kind {
    /// All of them, in the order of a run.
    pub const ALL: [Self; 21] = [
        Self::Code,
        Self::CodeWithVerifier,
        Self::Refresh,
        Self::Renew,
        Self::List,
        Self::Continue,
        Self::StartSmall,
        Self::StartLarge,
        Self::Append,
        Self::Close,
        Self::Finish,
        Self::Delete,
        Self::Check,
        Self::Metadata,
        Self::Copy,
        Self::Space,
        Self::Create,
        Self::Backups,
        Self::Settings,
        Self::Download,
        Self::Compare,
    ];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "token by code",
            Self::CodeWithVerifier => "token by code (PKCE)",
            Self::Refresh => "token by refresh",
            Self::Renew => "token in mid-run",
            Self::List => "list_folder",
            Self::Continue => "list_folder/continue",
            Self::StartSmall => "start (small)",
            Self::StartLarge => "start (concurrent)",
            Self::Append => "append",
            Self::Close => "closing append",
            Self::Finish => "finish_batch",
            Self::Delete => "delete_batch",
            Self::Check => "delete_batch/check",
            Self::Metadata => "get_metadata",
            Self::Copy => "copy",
            Self::Space => "get_space_usage",
            Self::Create => "UISP create",
            Self::Backups => "UISP list",
            Self::Settings => "UISP settings",
            Self::Download => "UISP download",
            Self::Compare => "UISP download (compare)",
        }
    }

    /// Its name over a column.
    pub fn heading(self) -> String {
        self.name().replace("list_folder", "list")
    }

    /// Its label in the stand-ins' logs; `backup` is the id of the backup that a download is for.
    pub fn route(self, backup: &str) -> String {
        match self {
            Self::Code | Self::CodeWithVerifier | Self::Refresh | Self::Renew => {
                "oauth2/token".into()
            }
            Self::List => "files/list_folder".into(),
            Self::Continue => "files/list_folder/continue".into(),
            Self::StartSmall | Self::StartLarge => "files/upload_session/start".into(),
            Self::Append | Self::Close => "files/upload_session/append_v2".into(),
            Self::Finish => "files/upload_session/finish_batch_v2".into(),
            Self::Delete => "files/delete_batch".into(),
            Self::Check => "files/delete_batch/check".into(),
            Self::Metadata => "files/get_metadata".into(),
            Self::Copy => "files/copy_v2".into(),
            Self::Space => "users/get_space_usage".into(),
            Self::Create => "POST nms/backups/create".into(),
            Self::Backups => "nms/backups".into(),
            Self::Settings => "nms/settings".into(),
            Self::Download | Self::Compare => format!("nms/backups/{backup}"),
        }
    }

    /// Hits the first such request, or from there on every one.
    pub fn on(self, backup: &str, lasting: bool) -> On {
        // Two whole blocks are appended before the request that closes the session.
        let first = match self {
            Self::Close => 3,
            // The first token is that of the run's beginning.
            Self::Renew => 2,
            _ => 1,
        };
        let route = self.route(backup);
        if lasting {
            On::from_nth(&route, first)
        } else {
            On::nth(&route, first)
        }
    }

    /// Who answers it.
    pub fn service(self) -> Service {
        match self {
            Self::Code | Self::CodeWithVerifier | Self::Refresh | Self::Renew => Service::Token,
            Self::Create | Self::Backups | Self::Settings | Self::Download | Self::Compare => {
                Service::Uisp
            }
            _ => Service::Dropbox,
        }
    }

    /// What it is needed for.
    pub fn part(self) -> Part {
        match self {
            Self::Code
            | Self::CodeWithVerifier
            | Self::Refresh
            | Self::Renew
            | Self::List
            | Self::Continue
            | Self::Backups => Part::Everything,
            Self::StartSmall
            | Self::StartLarge
            | Self::Append
            | Self::Close
            | Self::Finish
            | Self::Copy
            | Self::Download
            | Self::Compare => Part::OneBackup,
            Self::Create => Part::FreshBackup,
            Self::Delete | Self::Check => Part::Deletion,
            // A doubtful commit that cannot be looked for is sent again. Without UISP's settings
            // the timezone of an earlier run serves. The space is shown on the status page only.
            Self::Metadata | Self::Settings | Self::Space => Part::Nothing,
        }
    }

    /// Whether it exchanges a code.
    pub fn is_code(self) -> bool {
        matches!(self, Self::Code | Self::CodeWithVerifier)
    }

    /// Whether it reads a backup from UISP.
    pub fn is_download(self) -> bool {
        matches!(self, Self::Download | Self::Compare)
    }

    /// Whether it takes a large backup to see it.
    pub fn needs_large(self) -> bool {
        matches!(self, Self::StartLarge | Self::Append | Self::Close)
    }

    /// Whether it goes to Dropbox's content host, where answers may take ten minutes.
    pub fn is_upload(self) -> bool {
        self == Self::StartSmall || self.needs_large()
    }

    /// Whether its body has any bytes.
    pub fn has_body(self) -> bool {
        self != Self::StartLarge && self.service() != Service::Uisp
    }
}
