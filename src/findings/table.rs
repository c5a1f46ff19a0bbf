//! Every finding, worded: what happened, what it means, what to do. No text ends with a full stop.

use std::fmt::Display;

use super::labels::{
    APP_CONSOLE, FIELD_ACCESS_CODE, FIELD_APP_KEY, FIELD_CONFIRM_CLEANUP, FIELD_ENCRYPT_TO,
    FIELD_ENCRYPTION_PROOF, FIELD_HEALTHCHECK, FIELD_LEGACY_TOKEN, FIELD_REFRESH_TOKEN,
    FIELD_UISP_TOKEN,
};
use super::{Finding, Level};

/// An entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, which its findings carry as their code.
    pub code: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What happened; values stand in braces.
    pub happened: &'static str,
}

/// Makes a function of each entry, and a list of all.
macro_rules! findings {
    (
        $(#[$list_doc:meta])* $list:ident;
        $($level:ident $code:ident($($argument:ident: $type:ty),*)
            $happened:literal
            $(means $meaning:literal)?
            $(remedy $remedy:literal)?
        ;)*
    ) => {
        $(
            #[doc = concat!("\"", $happened, "\"")]
            pub fn $code($($argument: $type),*) -> Finding {
                Finding {
                    code: stringify!($code).into(),
                    level: Level::$level,
                    happened: format!($happened),
                    meaning: String::new() $(+ &format!($meaning))?,
                    remedy: String::new() $(+ &format!($remedy))?,
                    cause: String::new(),
                    row: None,
                }
            }
        )*
        $(#[$list_doc])*
        pub const $list: &[Entry] = &[$(Entry {
            code: stringify!($code),
            level: Level::$level,
            happened: $happened,
        }),*];
    };
}

findings! {
    /// What can stand in the log.
    LOG;

    // ---- the run and its files ----

    Info started(version: &str) "Started: backup-sync-dropbox {version}";
    Info another_run(since: &str)
        "Another run is still going on{since}; this one ends without doing anything";
    Gap run_stuck(since: &str)
        "A run has been going on since {since}, longer than any run may take"
        means "No other run can begin meanwhile, and nothing new is copied"
        remedy "Something may hang: a disk, a network share, the machine. Restart UISP or the machine; nothing is lost by it";
    Error data_folder_not_made(folder: impl Display)
        "The plugin's data folder {folder} cannot be made"
        remedy "Correct the permissions of the plugin's folder";
    Error lock_not_taken(lock: impl Display)
        "The lock {lock} cannot be taken, so it is not certain that no other run is going on"
        remedy "Correct the permissions of the plugin's data folder";
    Error not_ours(path: impl Display, what: &str)
        "In the place of the plugin's {path} stands something else: {what}"
        means "What it leads to could be changed, so nothing was done"
        remedy "Find out who has put it there, remove it and execute the plugin again, which makes its files anew; data/config.json is made by saving the form";
    Warning run_cut_off()
        "The run before this one was cut off before its end"
        means "The host's limit of one hour, a restart, a lack of memory or a kill ended it"
        remedy "This run carries on; there is nothing to do unless this repeats";
    Warning log_not_shortened(log: impl Display)
        "The log could not be shortened"
        means "It goes on growing until it can"
        remedy "Check free disk space and the permissions of {log}";
    Error log_not_written(log: impl Display)
        "The log {log} cannot be written"
        means "Its lines follow here"
        remedy "Check free disk space and the permissions of the plugin's data folder";
    Warning memory_rebuilt(set_aside: impl Display)
        "The plugin's memory (data/state.json) is damaged; it was set aside as {set_aside} and is built anew"
        means "Nothing is deleted in Dropbox in this run, and every file there is compared with its backup again"
        remedy "There is nothing to do";
    Error memory_unreadable(file: impl Display)
        "The plugin's memory {file} cannot be read"
        remedy "Correct its permissions and those of the plugin's data folder, or run the program as the owner of that file";
    Error memory_unwritable(consequence: &str)
        "The plugin's memory (data/state.json) could not be written"
        means "{consequence}"
        remedy "Free disk space or correct the permissions of the plugin's data folder";
    Warning memory_damaged()
        "The plugin's memory (data/state.json) is damaged"
        means "The next run sets it aside and builds it anew; no backup is lost"
        remedy "Execute the plugin, or wait for its next run";
    Warning record_unwritable()
        "The record for the status page (data/record.json) could not be written"
        means "The page shows an older state; the mirror does not depend on it"
        remedy "Free disk space or correct the permissions of the plugin's data folder";
    Error hangs()
        "The plugin was ended from within, because something hung for minutes"
        means "A disk or a file server gave no answer. Nothing is lost; the next run carries on"
        remedy "Check that the disks and file servers of this machine answer, above all those that hold the backups and the plugin's folder";
    Error ended_by_a_bug(place: impl Display, text: &str)
        "The plugin has ended because of a bug in it"
        means "Nothing is lost; the next run starts afresh"
        remedy "Please report this line: {text}, at {place}";

    // ---- the watcher ----

    Info watching(schedule: &str) "Watching: a run now, and then {schedule}";
    Info watching_ends() "The watcher ends: it was asked to stop";
    Info configuration_changed() "The configuration was changed: a run begins now";
    Info next_run_carries_on(times: u32, most: u32)
        "The next run begins at once and carries on ({times} of at most {most} times in a row)";
    Error run_not_started()
        "The watcher could not start a run"
        means "It tries again at the next run's time"
        remedy "See that the machine has memory and room for another process";
    Error run_died(signal: i32)
        "A run was ended by signal {signal}, without a word"
        means "Nothing is lost; the next run carries on"
        remedy "If nobody has done this on purpose, see whether the machine or the container has too little memory, or whether a disk or file server gives no answer";
    Error cannot_watch()
        "The watcher cannot wait for its next run"
        remedy "See whether the machine is short of memory or open files, and start it again";
    Error data_not_writable(folder: impl Display, user: u32, group: u32)
        "The plugin's data folder {folder} cannot be written by user {user}, as whom the program runs"
        remedy "Give it to that user, outside of a container by \"chown -R {user}:{group}\" and the folder that is mounted there, or run the program as the folder's owner";

    // ---- what is configured ----

    Error configuration_unreadable(file: &str)
        "The configuration {file} cannot be read"
        remedy "Save the plugin's configuration form once; if that does not help, check the permissions of the plugin's data folder";
    Error configuration_damaged(file: &str, damage: &str)
        "The configuration {file} is damaged: {damage}"
        means "Nothing was changed in it"
        remedy "Save the plugin's configuration form once to have it written anew";
    Error configuration_field(key: &str, expected: &str, found: &str)
        "The configuration field \"{key}\" in data/config.json must be {expected}, but holds {found}"
        remedy "Correct it in the plugin's configuration form and save";
    Error environment_value(variable: &str, expected: &str, found: &str)
        "The environment variable {variable} must be {expected}, but holds {found}"
        remedy "Correct it where the program or its container is started, and start it again";
    Warning environment_counts(variables: &str)
        "The environment says something else than data/config.json: {variables}"
        means "The environment counts"
        remedy "Remove one of the two, so that nobody is misled";
    Error environment_address(variable: &str)
        "The environment variable {variable} holds no usable address"
        remedy "Set it to an https URL (http only for this machine) or remove it";
    Error identity_removed()
        "A secret key of age (AGE-SECRET-KEY-1...) was in the plugin's configuration; it was taken out again"
        means "UISP shows what is in the form and has it in its backups, so the key is no secret any more; nothing is sent until a public key is there"
        remedy "Make a new key on your own computer with age-keygen, put its public key (age1...) into the field \"{FIELD_ENCRYPT_TO}\" and save";
    Error identity_stays()
        "A secret key of age (AGE-SECRET-KEY-1...) is in the plugin's configuration and could not be taken out"
        means "UISP shows what is in the form and has it in its backups"
        remedy "Remove it there yourself, make a new key on your own computer with age-keygen, and put its public key (age1...) into the field \"{FIELD_ENCRYPT_TO}\"";
    Error no_http_client()
        "The HTTP client could not be set up"
        remedy "Correct the environment variable that the cause names, or remove it";
    Error no_uisp_token()
        "The field \"{FIELD_UISP_TOKEN}\" of the plugin's configuration is empty"
        remedy "Make a token in UISP under Network, Settings, Users, API tokens (read only is enough), put it there and save";
    Error no_uisp_address()
        "The address of UISP is not known, so no backup can be read"
        remedy "Save UISP's system settings once or reinstall the plugin to have the file written anew";
    Info folder_is_source(folder: impl Display)
        "The folder {folder} is mirrored instead of UISP's backups, because it is configured as \"backupDirectory\"";
    Error own_folder(folder: impl Display)
        "The folder {folder}, which data/config.json names as \"backupDirectory\", contains this program's own folder, whose files must not be mirrored"
        remedy "Name another one, or move this program's folder out of it";

    // ---- the authorization ----

    Info saved() "The configuration was saved";
    Info authorized()
        "Authorized: Dropbox accepted the access code. The refresh token is stored and the field \"{FIELD_ACCESS_CODE}\" is empty again";
    Info saved_fields(fields: &str) "The configuration was saved: {fields}";
    Info uisp_accepts(backups: &str)
        "UISP accepts the token: its list has {backups} that can be copied";
    Info dropbox_accepts() "Dropbox accepts the stored authorization";
    Info code_in_token_field()
        "The field \"{FIELD_REFRESH_TOKEN}\" held an access code; it was used as one"
        means "The refresh token that it buys stands there now";
    Error not_a_code(what: &str)
        "What was given as the access code is {what}"
        means "It was not sent to Dropbox, and the field \"{FIELD_ACCESS_CODE}\" was emptied"
        remedy "Open the address below, click \"Allow\", and copy the code that Dropbox shows then";
    Warning permissions_missing(permissions: &str)
        "Dropbox accepted the code, but the app lacks a permission: {permissions}"
        remedy "Open your app at {APP_CONSOLE}, tick it on the Permissions tab and submit; then allow access again: a permission counts only for authorizations made after it was ticked";
    Info asked_on_page(login: &str)
        "\"{login}\" asked on the plugin's page for a run, and UISP is asked to start it";
    Info code_on_page(login: &str)
        "\"{login}\" gave an access code on the plugin's page";
    Info agreed_on_page(login: &str, files: &str)
        "\"{login}\" agreed on the plugin's page that {files} on hold are deleted from Dropbox; the next run does so";
    Error key_unwritable()
        "What protects the forms of the plugin's page (data/page.key) could not be written, so they cannot be used"
        remedy "Free disk space or correct the permissions of the plugin's data folder";
    Error no_authorization_url()
        "The authorization URL could not be made"
        remedy "Check the environment variables DROPBOX_API_URL and DROPBOX_WEB_URL";
    Error code_not_used()
        "The access code was not used, because the token that it buys could not be stored";
    Error code_not_exchanged()
        "The access code could not be exchanged; it stays in its field";
    Warning code_not_exchanged_yet()
        "The access code could not be exchanged yet; it stays in its field, and this run uses the stored authorization"
        remedy "There is nothing to do unless this repeats";
    Warning no_answer_after_saving()
        "Dropbox did not answer in time, so the access code waits in its field"
        remedy "The next run goes on with it; there is nothing to do unless this repeats";
    Error code_refused()
        "Dropbox refused the access code: it is wrong, was used before, has expired (codes live a few minutes), or belongs to an older authorization page"
        means "The field \"{FIELD_ACCESS_CODE}\" was emptied"
        remedy "Open the address below again and paste the new code soon";
    Warning code_refused_but_stored()
        "Dropbox refused the access code: it is wrong, was used before, has expired (codes live a few minutes), or belongs to an older authorization page"
        means "The field \"{FIELD_ACCESS_CODE}\" was emptied. The stored authorization is used instead"
        remedy "To authorize anew, clear the stored token and click \"Execute manually\"";
    Error refused_code_stays()
        "The refused access code could not be removed from the configuration";
    Error authorization_revoked() "Dropbox no longer accepts the stored authorization";
    Error app_unknown() "Dropbox does not know the app";
    Error renewal_refused() "Dropbox refused to renew the access";
    Error renewal_failed() "Dropbox could not be asked for access";
    Warning authorization_not_stored_yet()
        "The new authorization could not be stored yet"
        means "It serves this run, and is stored at its end if that is possible by then";
    Info authorization_stored() "The new authorization is stored now";
    Error authorization_lost()
        "The new authorization is lost, because it could not be stored"
        remedy "Correct what keeps it from being stored, then authorize again: the log shows how";
    Warning legacy_token()
        "The token in the field \"{FIELD_LEGACY_TOKEN}\" is used"
        means "Dropbox no longer issues such tokens and retires them"
        remedy "Fill in the field \"{FIELD_APP_KEY}\", click \"Execute manually\" and follow the steps in this log; then clear the old token";

    // ---- both lists and the plan ----

    Info fresh_backup(source: &str) "{source} makes a fresh backup first";
    Error no_fresh_backup()
        "A fresh backup could not be made; those that exist are mirrored";
    Error source_not_listed(source: &str)
        "{source}'s list of backups could not be read, so nothing is mirrored and nothing is deleted";
    Error mirror_not_listed()
        "The mirror folder in Dropbox could not be listed, so nothing is mirrored";
    Warning no_timezone(zone: &str)
        "UISP's timezone is not known, so times are in {zone}, also in the names of new files"
        means "Backups are recognised all the same"
        remedy "If this repeats, set the timezone in UISP's settings";
    Gap unusable_entry(source: &str, problem: &str)
        "{source}'s list of backups has an entry that cannot be used: {problem}";
    Gap unusable_entries(source: &str, remedy: &str)
        "Because {source}'s list has entries that cannot be used, nothing is deleted in Dropbox in this run; usable backups are uploaded"
        remedy "If this repeats, {remedy}";
    Gap nothing_finished(source: &str)
        "{source} lists no finished backup, so nothing is deleted in Dropbox";
    Info planned(source: &str, finished: &str, uploads: usize, comparisons: usize, unchanged: usize)
        "{source} has {finished}: {uploads} to upload, {comparisons} to compare, {unchanged} unchanged";
    Gap passed_over(what: &str)
        "Some of what is in the backup folder cannot be mirrored: {what}"
        means "Copies in Dropbox that may be of it stay"
        remedy "Rename it, let it be read, put a file in the place of a link, or move it out of the folder";
    Info left_out(what: &str)
        "Not copied, because nothing is missing without it: {what}";
    Info renamed(files: &str)
        "Dropbox takes some names of the backup folder for the same, so these files have other names there: {files}";
    Warning sudden_shrink(name: &str, before: &str, after: &str)
        "\"{name}\" has suddenly become much smaller: {after} instead of {before}"
        means "It replaces the copy in Dropbox all the same"
        remedy "Check whether it is a whole backup; if not, Dropbox keeps the larger one among the file's previous versions, as a rule for 30 days";
    Warning unknown_copy(name: &str, there: &str, here: &str)
        "The copy of \"{name}\" in Dropbox is not one that this program stored there ({there} instead of {here})"
        means "It is set aside under another name in Dropbox and replaced"
        remedy "Look at both; what you do not need can be deleted in Dropbox";
    Gap rivals(names: &str, others: &str)
        "Another program or machine has replaced copies that this one had stored in Dropbox: {names}"
        means "Each of the two sets the other's copies aside and replaces them, again and again{others}"
        remedy "Give each machine a folder of its own: \"dropboxFolder\" in its configuration";
    Warning many_replaced(count: &str, usual: usize)
        "{count} in Dropbox are about to be replaced in this run, at most {usual} in the runs before"
        remedy "If nobody rewrote the originals on purpose, look at them now: something may be damaging or encrypting them. Dropbox keeps the replaced copies among the files' previous versions, as a rule for 30 days";
    Gap stays_pending(name: &str, since: &str, runs: u32)
        "\"{name}\" has not reached Dropbox in its present version since {since}, in {runs} runs"
        remedy "The log of these runs says why; if it is larger than what one run can send, the next runs carry on";
    Gap unknown_state(states: &str)
        "UISP lists backups in a state that this program does not know: {states}"
        means "They are not copied"
        remedy "See in UISP under Settings, Backups, whether they are finished, and report this line";
    Warning wrong_clock_here(off: &str, direction: &str)
        "This machine's clock is {off} {direction} Dropbox's"
        means "Times of deletion are measured by Dropbox's clock; log, page and schedules go by this machine's"
        remedy "Set it right, and let NTP keep it right";
    Info no_fresh_backup_yet()
        "No fresh backup is made in this run: uploads that were begun are finished first";
    Info agreed(count: &str)
        "You agreed to the deletion of {count} on hold; the box is unticked again";
    Info unticked_at_last()
        "The box \"{FIELD_CONFIRM_CLEANUP}\", of which an earlier run took note, is unticked now"
        remedy "If more is on hold meanwhile and you agree to that as well, tick it again";
    Info nothing_to_agree_to()
        "\"{FIELD_CONFIRM_CLEANUP}\" was ticked, but nothing was on hold; the box is unticked again";
    Warning prove_key(command: &str)
        "Nobody has shown yet that the encrypted copies can be opened"
        means "Until then copies that are not encrypted, or are encrypted to other keys, stay in Dropbox"
        remedy "On the computer that has the secret key, in key.txt, run: {command} and put the word that it prints into the field \"{FIELD_ENCRYPTION_PROOF}\"";
    Info key_proved()
        "The word in \"{FIELD_ENCRYPTION_PROOF}\" is right: the encrypted copies can be opened. The field is empty again";
    Warning wrong_proof()
        "The word in the field \"{FIELD_ENCRYPTION_PROOF}\" is not the one that was encrypted for the present keys"
        remedy "Put the word there that the command in the plugin's log prints, or empty the field";
    Warning proof_not_emptied()
        "The field \"{FIELD_ENCRYPTION_PROOF}\" could not be emptied; its word is taken note of"
        remedy "Empty it yourself";
    Info unsealed_beside(files: &str)
        "{files} not encrypted, although encrypted copies are there or are to come"
        remedy "The command \"list\" says of each why it stays. Once they are deleted, Dropbox still keeps their earlier versions for its own time (30 to 365 days): delete them there for good if they must not be read";
    Info sealed_left(files: &str)
        "{files} encrypted, although \"{FIELD_ENCRYPT_TO}\" is empty"
        means "They stay as they are; what is new is not encrypted";
    Info sealed_to_others(files: &str)
        "{files} encrypted to other keys than the present ones"
        means "They are replaced once it was shown that what is encrypted to the present keys can be opened";
    Gap emptied(files: &str)
        "Some files of the backup folder are empty now, but not their copies in Dropbox, which stay: {files}"
        remedy "Check the program that makes these backups, and whether its disk is full";
    Gap empty(files: &str)
        "Some files of the backup folder are empty and have no copy in Dropbox: {files}"
        means "A dump that failed looks like this. Older copies in Dropbox stay until there is a newer one"
        remedy "Check the program that makes these backups, and whether its disk is full";
    Info not_copied(reason: &str, files: &str) "Not copied, because {reason}: {files}";
    Warning on_hold(files_are: &str, source: &str, loss: &str, names: &str, word: &str)
        "{files_are} on hold"
        means "{source} no longer lists their backups, but they are most of what the mirror holds, as after {loss}. Nothing of it is deleted: {names}"
        remedy "If the backups were deleted on purpose, {word}; otherwise there is nothing to do";
    Info never_seen(files: &str, source: &str, names: &str)
        "Kept {files} in Dropbox that this installation never saw in {source} (from another server, or from before): {names}";

    Info kept_older(name: &str, source: &str, why: impl Display)
        "Kept \"{name}\", which {source} no longer has: {why}";
    Info more_kept_older(files: &str)
        "Kept {files} more like that; the command \"list\" says of each why";

    // ---- uploads, comparisons, deletions ----

    Info uploaded(name: &str, size: &str, took: &str) "Uploaded \"{name}\" ({size} in {took})";
    Info replaced(name: &str, size: &str, took: &str) "Replaced \"{name}\" ({size} in {took})";
    Warning suspect(name: &str, flaw: &str)
        "\"{name}\" is no complete archive: {flaw}"
        means "It is mirrored all the same, and as long as it is the newest one, the newest complete one stays in Dropbox"
        remedy "Check the program that makes these backups and whether its disk is full, and make a new backup";
    Info carried_on(name: &str, held: &str)
        "The upload of \"{name}\" goes on; Dropbox holds {held} of it already";
    Info sent_before(name: &str)
        "\"{name}\" was sent before; it only has to be put in its place";
    Info begun_again(name: &str) "The upload of \"{name}\" begins again from its start";
    Error not_uploaded(name: &str) "\"{name}\" could not be uploaded";
    Gap left_in_use(name: &str)
        "\"{name}\" is left for the next run, because it changed while it was read"
        means "Nothing of it was stored, and an earlier copy in Dropbox stays"
        remedy "There is nothing to do unless this repeats";
    Info gone_meanwhile(name: &str, source: &str)
        "\"{name}\" was deleted in {source} before its turn came";
    Info set_aside(name: &str, aside: &str)
        "The copy of \"{name}\" in Dropbox is kept as \"{aside}\" before another one takes its place";
    Error not_set_aside(name: &str, size: &str)
        "\"{name}\" was not replaced in Dropbox, because the copy there ({size}) could not be set aside first";
    Gap name_refused(name: &str)
        "Dropbox refuses the name of \"{name}\", so it is not mirrored"
        remedy "Rename it; until then it is tried again once a week";
    Gap place_taken(name: &str, by: &str)
        "\"{name}\" is not mirrored, because \"{by}\" is in its place in Dropbox and stays for now"
        means "A name can be that of a file or of a folder, not of both"
        remedy "It makes way by the rules of deletion; if it is none of this mirror's files, move it away in Dropbox";
    Warning damaged_copy_stays(name: &str, hash: impl Display)
        "The damaged copy \"{name}\" (content hash {hash}) could not be removed from Dropbox"
        remedy "The next run compares it with its backup again";
    Warning damaged_copy_in_place(name: &str, hash: impl Display)
        "The damaged copy \"{name}\" (content hash {hash}) stands in Dropbox in place of the earlier one, which could not be brought back"
        remedy "The next run replaces it; until then the earlier one is among the file's versions on Dropbox's web site";
    Info comparing_unknown(files: &str, source: &str)
        "{files} in Dropbox will be compared with {source}'s once, because another program may have put them there";
    Info comparing_outdated(files: &str, source: &str)
        "{files} in Dropbox will be compared with {source}'s, because the originals have a new time but the same length";
    Info verified(name: &str, source: &str, size: &str)
        "Verified \"{name}\": it equals its original in {source} ({size})";
    Warning differs(name: &str, source: &str, there: &str, here: &str)
        "\"{name}\" in Dropbox differs from its original in {source} ({there} instead of {here})"
        means "It is set aside under another name in Dropbox and replaced"
        remedy "What you do not need can be deleted in Dropbox";
    Error not_compared(name: &str, source: &str)
        "\"{name}\" could not be compared with its original in {source}";
    Info room_first() "Dropbox is full; the deletions that are due are done first";
    Info brought_back(name: &str)
        "\"{name}\" is back in Dropbox: without it there was no room for a new backup either";
    Warning not_brought_back(name: &str)
        "\"{name}\" was deleted to make room for a new backup, which found none all the same, and could not be brought back"
        means "It was to be deleted anyway as soon as the new backup had arrived"
        remedy "If you need it, restore it from the deleted files on Dropbox's web site";
    Info deleted(name: &str, source: &str) "Deleted \"{name}\", which {source} no longer has";
    Info superseded(name: &str)
        "Deleted \"{name}\": an encrypted copy has taken its place";
    Error not_deleted(name: &str) "\"{name}\" could not be deleted in Dropbox";
    Info folder_removed(name: &str)
        "Deleted the folder \"{name}\", which has become empty";
    Warning folder_not_removed(name: &str)
        "The folder \"{name}\" has become empty and could not be deleted in Dropbox"
        means "It stays there, empty"
        remedy "Delete it by hand if it is in your way";
    Info deletions_wait(deletions: &str)
        "Nothing was deleted in Dropbox: {deletions} for the next run that completes";
    Error cleanup_not_unticked()
        "The box \"{FIELD_CONFIRM_CLEANUP}\" could not be unticked"
        means "Your agreement counts for what is on hold now, and for nothing that comes later only once the box is unticked"
        remedy "Untick \"{FIELD_CONFIRM_CLEANUP}\" in the plugin's configuration and save";

    // ---- the end ----

    Info regular_run_carries_on()
        "UISP is not asked to start the plugin again at once; its next regular run carries on";
    Info asked_to_carry_on(times: u32, most: u32)
        "UISP is asked to start the plugin again at once, so that it carries on ({times} of at most {most} times in a row)";
    Info asked_to_start()
        "UISP is asked to start the plugin now: the first backups are on their way within about a minute";
    Warning not_asked_to_start()
        "UISP could not be asked to start the plugin at once; its next regular run carries on"
        remedy "Correct the permissions of the plugin's folder";
    Warning monitor_not_told(host: &str)
        "The monitoring service at {host} could not be told how this run went"
        means "This does not affect the mirror"
        remedy "If this repeats, compare \"{FIELD_HEALTHCHECK}\" in the plugin's configuration with the address that the service shows";
    Info finished(parts: &str, took: &str) "Finished: {parts}, in {took}";
    Info finished_waiting()
        "Finished: waiting for the next step of the setup; nothing was mirrored";
    Warning finished_early(reason: &str, parts: &str, took: &str)
        "Finished early, because {reason}: {parts}, in {took}"
        remedy "The next run carries on";
    Error finished_with_errors(parts: &str, took: &str)
        "Finished: {parts}, in {took}"
        remedy "The errors above say what to do";
}

findings! {
    /// What only the status page says.
    PAGE;

    Error last_run_failed() "The last run failed";
    Info saved_not_tried()
        "Saved, not tried yet"
        means "The last run failed, and the configuration was changed since"
        remedy "Run the plugin now, or wait for its next run";
    Error record_unreadable()
        "The plugin's record cannot be read"
        remedy "Correct the permissions of the plugin's data folder, so that UISP's web server can read its file record.json";
    Warning record_damaged()
        "The record of the last runs is damaged"
        means "The backups are not affected. The next run writes it anew"
        remedy "Click \"Execute manually\" on the plugin's page if you do not want to wait";
    Error configuration_unusable() "The plugin's configuration cannot be used";
    Warning last_run_cut_off()
        "The last run was cut off before its end"
        means "The host's limit of one hour, a restart, a lack of memory or a kill ended it"
        remedy "The next run carries on; there is nothing to do unless this repeats";
    Warning no_run_since(time: &str, interval: &str)
        "No run since {time}"
        means "The plugin usually runs {interval}"
        remedy "See on the plugin's page, under System, Plugins, whether it is enabled and has an execution period, or click \"Execute manually\" there";
    Warning no_backup(source: &str) "{source} has no finished backup";
    Warning no_backup_since(source: &str, time: &str, interval: &str)
        "{source} has no backup that is newer than {time}"
        means "Usually there is a new one {interval}";
    Warning little_space(free: &str, all: &str)
        "Dropbox is running out of space: {free} free"
        means "The account has {all} in all"
        remedy "Free some space there or get more before it is full: new backups could not be uploaded then";
    Warning legacy_token_in_use()
        "Dropbox retires the kind of token that is in use"
        means "The token in the field \"{FIELD_LEGACY_TOKEN}\" works for now";
    Info going_on(since: &str, hint: &str) "A run is going on{since}" remedy "{hint}";
    Info never_run()
        "The plugin has not run yet"
        remedy "Set its execution period to 24 hours, or click \"Execute manually\" on its page, under System, Plugins";
    Info not_there_yet(backups: &str, since: &str)
        "Not in Dropbox yet, or not in the present version: {backups}, the first since {since}"
        means "What is still being made or written is copied once it is finished"
        remedy "The next run carries on; there is nothing to do unless this repeats";
    Warning not_proved()
        "No run has proved yet that every backup is in Dropbox"
        remedy "Click \"Execute manually\" on the plugin's page, or wait for the next run";
    Info left_over(things: &str)
        "The last run had to end before everything was done: {things} left"
        remedy "The next run carries on where it stopped; there is nothing to do";
}

findings! {
    /// What only commands say.
    COMMANDS;

    Error app_key_missing()
        "No Dropbox app is set up yet"
        remedy "Put its key into the field \"{FIELD_APP_KEY}\" of the plugin's configuration, save and execute the plugin; its log explains each step";
    Error access_not_allowed()
        "Nobody has allowed access to Dropbox yet"
        remedy "Execute the plugin; its log then shows an address to open and what to do with the code that it gives";
    Error code_waits()
        "The code in the field \"{FIELD_ACCESS_CODE}\" has not been exchanged yet, and only a run does that"
        remedy "Execute the plugin soon: codes expire after a few minutes";
    Error app_key_not_given()
        "No app key is stored yet"
        remedy "Give it with --app-key; it stands on the Settings tab of your app at {APP_CONSOLE}";
    Error no_code_given()
        "No code was given"
        remedy "Run the command again; the address stays the same";
    Error nothing_authorized()
        "Nothing was authorized"
        remedy "Run the command again; the address stays the same";
    Error run_goes_on()
        "A run is going on, or the lock cannot be taken"
        remedy "Try again when the run has ended";
    Error configuration_unwritable(file: &str)
        "The configuration {file} cannot be written"
        means "Its old content is unchanged"
        remedy "Free disk space or correct the permissions of the plugin's data folder";
    Error output_not_written() "The output could not be written";
    Error lists_not_read() "The two lists could not be read";
    Error mirror_folder_not_listed() "The mirror folder in Dropbox could not be listed";
    Error backups_not_listed(source: &str) "{source}'s list of backups could not be read";
    Error nothing_downloads() "Nothing can be downloaded";
    Error not_downloaded(name: &str) "\"{name}\" could not be downloaded";
    Error versions_not_listed(name: &str) "The versions of \"{name}\" could not be listed";
    Error backup_unreadable() "its backup could not be read";
    Error copy_unreadable() "it could not be downloaded";

    // ---- what `check` finds ----

    Error broken(what: impl Display) "{what}";
    Error no_folder(folder: &str)
        "{folder} is not a folder"
        remedy "Remove it; the plugin makes it anew";
    Error folder_missing(folder: &str)
        "{folder} cannot be found"
        remedy "Name the plugin's folder, which has data/ in it, with --root; or execute the plugin once, which makes it";
    Error folder_unwritable(folder: &str, owner: u32)
        "Nothing can be written into {folder}"
        remedy "Free disk space or correct its permissions; it belongs to user {owner}";
    Error foreign_owner(file: impl Display, folder: &str, owner: u32)
        "{file} does not belong to the owner of {folder}, user {owner}, who may be unable to use it"
        remedy "Give it to that user: chown {owner} {file}";
    Error no_answer_in_time()
        "UISP gave no complete answer in time"
        remedy "Check that UISP is running and not overloaded";
    Error unusable_row(problem: &str, remedy: &str)
        "An entry cannot be used: {problem}"
        means "Nothing is deleted while it is there; usable backups are uploaded all the same"
        remedy "If this does not pass, {remedy}";
    Error no_finished_backup() "There is no finished backup in it";
    Error wrong_clock(off: &str, direction: &str)
        "This machine's clock is {off} {direction} Dropbox's"
        remedy "Set it right, and let NTP keep it right: certificates, and the days for which deleted backups are kept, depend on it";
    Error permission_unknown() "It could not be found out whether it is granted";
    Error permission_missing(purpose: &str) "missing; {purpose}";
    Error no_word_on_probe()
        "Dropbox did not say whether it stored a file"
        remedy "Try again";
    Error probe_stays(path: &str)
        "The probe file {path} may still be in Dropbox"
        remedy "Remove it there";
    Error no_space_for_one(told: &str)
        "{told}, which is less than one backup"
        remedy "Free some space in Dropbox or get more";
}
