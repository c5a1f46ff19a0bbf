//! The mission from the upload of the ZIP to a deletion that is held back, stage by stage, each
//! shown as the admin would see it and checked before the next one starts.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::world::{APP_KEY, World, authorization_link, megabytes};
use crate::host::Plugin;
use crate::http::Exchange;
use crate::uisp::{Backup, RawAnswer};
use anyhow::{Context, Result, ensure};

const MIB: u64 = 1024 * 1024;

/// UISP's backups, as number and size; one is larger than Dropbox takes in a single request.
const BACKUPS: [(u32, u64); 5] = [
    (300, 5 * MIB),
    (301, 160 * MIB),
    (302, 12 * MIB + 345),
    (303, 4 * MIB),
    (304, 7 * MIB + 1),
];

/// Walks through all stages.
pub fn walk(zip: &Path) -> Result<()> {
    let mut tour = Tour::start(zip)?;
    tour.first_run()?;
    tour.asks_for_authorization()?;
    tour.authorizes_and_mirrors()?;
    tour.has_nothing_to_do()?;
    tour.mirrors_a_new_backup()?;
    tour.mirrors_a_deletion()?;
    tour.survives_an_empty_list()?;
    tour.holds_back_a_mass_deletion()?;
    tour.encrypts()?;
    println!("\nThat is the whole mission: set up once, mirrored ever after.");
    Ok(())
}

struct Tour {
    world: World,
    plugin: Plugin,
    /// Bytes of the log that were shown already.
    shown: usize,
    stage: u32,
}

impl Tour {
    fn start(zip: &Path) -> Result<Self> {
        let world = World::with_tls()?;
        for (number, size) in BACKUPS {
            world.uisp.add(Backup::numbered(number, size));
        }
        let plugin = world.install(zip)?;
        let mut tour = Self {
            world,
            plugin,
            shown: 0,
            stage: 0,
        };
        println!(
            "\nEverything here runs on this machine, against stand-ins: UISP at {},",
            tour.world.uisp.local_url()
        );
        println!(
            "Dropbox at {} (over TLS, with a test authority), and UISP's plugin host.",
            tour.world.dropbox.api_url()
        );
        tour.announce("The admin uploads the ZIP on UISP's plugin page; UISP has five backups");
        say(&format!(
            "{} {} is installed.",
            tour.plugin.manifest().display_name,
            tour.plugin.manifest().version
        ));
        if !tour.world.has_php() {
            say(
                "There is no PHP on this machine: the demo starts the program directly, without main.php.",
            );
        }
        tour.show_backups();
        Ok(tour)
    }

    fn first_run(&mut self) -> Result<()> {
        self.announce(
            "UISP's API token goes into the form; the admin presses \"Execute manually\"",
        );
        let token = self.world.uisp.token();
        self.save(&[("unmsApiToken", &token)])?;
        self.plugin.enable()?;
        self.execute()
    }

    fn asks_for_authorization(&mut self) -> Result<()> {
        self.announce("The app key goes into the form, no app secret; the log answers with a link");
        self.save(&[("dropboxAppKey", APP_KEY)])?;
        self.execute()?;
        authorization_link(&self.plugin.log()).context("there is no link in the log")?;
        Ok(())
    }

    fn authorizes_and_mirrors(&mut self) -> Result<()> {
        self.announce(
            "The admin opens the link, clicks Allow, and pastes the code that Dropbox shows",
        );
        let log = self.plugin.log();
        let link = authorization_link(&log).context("there is no link in the log")?;
        let code = self.world.dropbox.allow(link).map_err(anyhow::Error::msg)?;
        say("Dropbox shows a code.");
        self.save(&[("dropboxAccessCode", &code)])?;
        self.execute()?;

        let form = self.plugin.form()?;
        let is_filled = |key: &str| {
            form.iter()
                .any(|(known, input)| known == key && !input.is_empty())
        };
        ensure!(
            is_filled("dropboxRefreshToken"),
            "the refresh token was not stored"
        );
        ensure!(
            !is_filled("dropboxAccessCode"),
            "the code field was not emptied"
        );
        say("In the form, the refresh token is filled in and the code field is empty again.");
        self.show_mirror()
    }

    fn has_nothing_to_do(&mut self) -> Result<()> {
        self.announce("The next day's run finds nothing to do");
        self.world.dropbox.traffic().clear_log();
        self.execute()?;
        let writes = self
            .world
            .dropbox
            .requests()
            .iter()
            .filter(|request| is_write(request))
            .count();
        ensure!(writes == 0, "{writes} requests changed something");
        say(&format!(
            "{} requests to Dropbox, none of them a write.",
            self.world.dropbox.requests().len()
        ));
        self.check_mirror()
    }

    fn mirrors_a_new_backup(&mut self) -> Result<()> {
        self.announce("UISP makes its daily backup");
        let backup = Backup::numbered(305, 9_876_543);
        self.world.uisp.add(backup.clone());
        say(&format!(
            "{} of {} is there.",
            backup.id,
            megabytes(backup.size)
        ));
        self.execute()?;
        self.show_mirror()
    }

    fn mirrors_a_deletion(&mut self) -> Result<()> {
        self.announce(
            "The admin deletes a backup at UISP; somebody else's file lies in the folder",
        );
        self.world.dropbox.put("/holiday.jpg", b"not a backup");
        let oldest = self
            .world
            .uisp
            .backups()
            .into_iter()
            .next()
            .context("there are no backups")?;
        self.world.uisp.remove(&oldest.id);
        say(&format!("{} is gone at UISP.", oldest.id));
        self.execute()?;
        ensure!(
            self.world.mirrored(&oldest).is_none(),
            "its file is still in Dropbox"
        );
        ensure!(
            self.world.dropbox.read("/holiday.jpg").is_some(),
            "a foreign file was deleted"
        );
        self.show_mirror()
    }

    fn survives_an_empty_list(&mut self) -> Result<()> {
        self.announce("UISP hiccups and lists no backups at all: nothing is deleted");
        self.world
            .uisp
            .answer_list(Some(RawAnswer::json(200, "[]")));
        self.execute()?;
        self.world.uisp.answer_list(None);
        self.check_mirror()
    }

    fn holds_back_a_mass_deletion(&mut self) -> Result<()> {
        self.announce(
            "All backups but one vanish: the files are put on hold until the admin agrees",
        );
        let backups = self.world.uisp.backups();
        for backup in &backups[1..] {
            self.world.uisp.remove(&backup.id);
        }
        let files = self.world.dropbox.paths().len();
        self.execute()?;
        ensure!(
            self.world.dropbox.paths().len() == files,
            "files were deleted without being asked"
        );
        self.show_mirror()?;

        say("The admin read the warning, and it is right: the box is ticked.");
        self.save(&[("confirmCleanup", "on")])?;
        self.execute()?;
        let config = self.plugin.config()?;
        ensure!(
            config["confirmCleanup"] == false,
            "the box was not unticked"
        );
        self.show_mirror()
    }

    /// With Debian's `age`, on what would be the admin's own computer.
    fn encrypts(&mut self) -> Result<()> {
        self.announce("The admin makes a key with age and has everything encrypted to it");
        let computer = tempfile::tempdir()?;
        let on_computer = |command: &str| -> Result<Vec<u8>> {
            println!("  admin | {command:.80}");
            let mut shell = Command::new("sh");
            let shell = shell.args(["-c", command]).current_dir(computer.path());
            let output = shell.stderr(Stdio::null()).output()?;
            ensure!(output.status.success(), "{command}: {output:?}");
            Ok(output.stdout)
        };
        if Command::new("age").arg("--version").output().is_err() {
            say("There is no age on this machine: this stage is left out.");
            return Ok(());
        }
        on_computer("age-keygen -o key.txt")?;
        let recipient = String::from_utf8(on_computer("age-keygen -y key.txt")?)?;
        self.save(&[("encryptTo", recipient.trim())])?;
        self.execute()?;
        let backups = self.world.uisp.backups();
        let both = 2 * backups.len();
        let copies = |tour: &Self| {
            let paths = tour.world.dropbox.paths();
            paths.iter().filter(|path| path.contains(".unms")).count()
        };
        ensure!(
            copies(self) == both,
            "a copy was deleted before the key was proved"
        );

        say("The log asks for a word that only the secret key can read.");
        let log = self.plugin.log();
        let (_, command) = log
            .rsplit_once("run: ")
            .context("the log asks for no word")?;
        let (command, _) = command
            .split_once(" and put the word")
            .context("the log asks for no word")?;
        let word = String::from_utf8(on_computer(command)?)?;
        self.save(&[("encryptionProof", word.trim())])?;
        self.execute()?;
        ensure!(
            copies(self) == backups.len(),
            "the copies that are not encrypted are still there"
        );

        for backup in &backups {
            let file = self.world.mirrored(backup);
            let file = file.with_context(|| format!("{} is not in Dropbox", backup.id))?;
            println!("Dropbox | {:<69} {:>8}", file.path, megabytes(file.size));
            let sealed = self.world.dropbox.read(&file.path).unwrap_or_default();
            fs::write(computer.path().join("backup.unms.age"), sealed)?;
            let opened = on_computer("age -d -i key.txt backup.unms.age")?;
            ensure!(
                opened == backup.bytes(),
                "{} holds something else than its backup",
                file.path
            );
        }
        say(&format!(
            "Checked: age opens each of them ({}), and what is in them is UISP's backup.",
            backups.len()
        ));
        Ok(())
    }

    fn announce(&mut self, title: &str) {
        self.stage += 1;
        println!("\n== {}. {title}\n", self.stage);
    }

    /// Fills in fields of the form, showing them, and presses Save.
    fn save(&self, inputs: &[(&str, &str)]) -> Result<()> {
        for (key, input) in inputs {
            let field = self
                .plugin
                .manifest()
                .fields
                .iter()
                .find(|field| field.key == *key);
            println!(
                "   form | {}: {input}",
                field.map_or(*key, |field| &field.label)
            );
        }
        self.plugin.save_form(inputs)?;
        Ok(())
    }

    /// One run, by the button, and the lines that it adds to the log.
    fn execute(&mut self) -> Result<()> {
        self.plugin.request_execution()?;
        let run = self
            .plugin
            .start_requested()?
            .context("the host did not start the plugin")?;
        let outcome = run.wait()?;
        let log = self.plugin.log();
        for line in log.get(self.shown..).unwrap_or(&log).lines() {
            println!("    log | {line}");
        }
        self.shown = log.len();
        ensure!(outcome.exit_code == Some(0), "the run failed: {outcome:?}");
        Ok(())
    }

    fn show_backups(&self) {
        for backup in self.world.uisp.backups() {
            println!(
                "   UISP | {}  {}  {:>9}",
                backup.id,
                backup.created_at,
                megabytes(backup.size)
            );
        }
    }

    /// Shows the mirror folder after a run that changed it, and checks it.
    fn show_mirror(&self) -> Result<()> {
        let backups = self.world.uisp.backups();
        for file in self.world.dropbox.files() {
            let source = backups.iter().find(|backup| file.path.contains(&backup.id));
            let remark = match source {
                Some(source) if source.content_hash() == file.content_hash => "same as at UISP",
                Some(_) => "DIFFERS from UISP",
                None => "not on UISP's list, kept",
            };
            let (path, size, hash) = (&file.path, megabytes(file.size), &file.content_hash[..12]);
            println!("Dropbox | {path:<69} {size:>8}  hash {hash}..  {remark}");
        }
        self.check_mirror()
    }

    /// Every backup must be in the mirror folder, with the very hash of its source.
    fn check_mirror(&self) -> Result<()> {
        let backups = self.world.uisp.backups();
        for backup in &backups {
            let file = self
                .world
                .mirrored(backup)
                .with_context(|| format!("{} is not in Dropbox", backup.id))?;
            ensure!(
                file.content_hash == backup.content_hash(),
                "{} differs from its source",
                file.path
            );
        }
        say(&format!(
            "Checked: each of UISP's backups ({}) is in Dropbox with the same content hash.",
            backups.len()
        ));
        Ok(())
    }
}

fn say(text: &str) {
    println!("        {text}");
}

/// Whether a request to Dropbox could change a file.
fn is_write(request: &Exchange) -> bool {
    [
        "files/upload",
        "files/delete",
        "files/move",
        "files/copy",
        "files/create",
    ]
    .iter()
    .any(|prefix| request.route.starts_with(prefix))
}
