//! What somebody sees who starts the program at a terminal.

use std::fs::File;
use std::io::Read;
use std::num::NonZero;
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use nix::pty::{Winsize, openpty};
use sandbox::http::{Action, Gate, On};
use sandbox::uisp::Backup;

use crate::support::{PATIENCE, World};

const COLUMNS: NonZero<u16> = NonZero::new(250).unwrap();
const ROWS: NonZero<u16> = NonZero::new(40).unwrap();

#[test]
fn a_bar_is_shown_while_it_goes_on_and_tears_no_line() {
    let world = World::authorized();
    let backup = Backup::numbered(1, 60_000_000);
    world.uisp.add(backup.clone());
    let gate = Gate::new();
    let append = On::nth("files/upload_session/append_v2", 10);
    world.dropbox.inject(append, Action::Hold(gate.clone()));

    let size = Winsize {
        ws_row: ROWS.get(),
        ws_col: COLUMNS.get(),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(&size, None).unwrap();
    let mut command = world.command();
    command
        .env_remove("BACKUP_SYNC_CLOCK_SPEED")
        .env("TERM", "xterm")
        .stderr(Stdio::from(pty.slave));
    let mut run = command.spawn().unwrap();
    // With it goes the last handle of the program's end of the terminal but the program's own.
    drop(command);

    let mut screen = vt100::Parser::new(ROWS, COLUMNS, 0);
    let mut terminal = File::from(pty.master);
    let (shown, output) = mpsc::channel();
    // Ends with an error when the program ends.
    thread::spawn(move || {
        let mut bytes = vec![0; 4096];
        while let Ok(count @ 1..) = terminal.read(&mut bytes) {
            shown.send(bytes[..count].to_vec()).unwrap();
        }
    });
    let mut was_shown = false;
    while let Some(bytes) = match output.recv_timeout(PATIENCE) {
        Ok(bytes) => Some(bytes),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("nothing more comes:\n{}", world.log()),
    } {
        screen.process(&bytes);
        let rows: Vec<String> = screen.screen().rows(0, COLUMNS.get()).collect();
        let bar = rows.iter().position(|row| row.contains(" of 60 MB"));
        if let Some(bar) = bar
            && rows[bar].contains(" %, ")
            && rows[bar - 1].contains(&backup.id)
        {
            was_shown = true;
            gate.open();
        }
    }
    assert!(run.wait().unwrap().success(), "{}", world.log());
    assert!(was_shown, "no bar");
    let left: Vec<String> = screen.screen().rows(0, COLUMNS.get()).collect();
    let left = left.join("\n");
    assert_eq!(left.trim_end(), world.log().trim_end());
}
