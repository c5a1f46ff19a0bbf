//! Six weeks beside a DSMR-reader: one dump for each weekday, overwritten every week; an archive
//! that grows by a file a month; and what its users met: half-written dumps, a dump of 1 kB, an
//! outage of Dropbox, a full account.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use sandbox::dropbox::{content_hash, faults};
use sandbox::http::On;

use super::world::FolderWorld;
use crate::support::Ended;

const DAYS: u64 = 42;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Days on which something happens; a Monday is 0, 7, 14 and so on.
const FAILED_DUMP: u64 = 10;
const CORRUPT_DUMP: u64 = 17;
const OUTAGE: std::ops::Range<u64> = 21..24;
const FULL: std::ops::Range<u64> = 28..30;

/// DSMR-reader's folder, the program beside it, and every whole content that each file ever had.
struct House {
    world: FolderWorld,
    whole: BTreeMap<String, BTreeSet<String>>,
}

impl House {
    /// Writes a file on a day; it is whole.
    fn write(&mut self, name: &str, content: &[u8], day: u64) {
        // The past, so that it is at rest; half an hour after two o'clock.
        let modified = SystemTime::now() - DAY * (DAYS + 1 - day) as u32;
        self.world.write_at(name, content, modified);
        let contents = self.whole.entry(name.to_owned()).or_default();
        contents.insert(content_hash(content));
    }

    fn dump(day: u64, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(day);
        std::iter::repeat_with(|| random.u8(..))
            .take(length)
            .collect()
    }

    /// Two o'clock: the dump of the day.
    fn back_up(&mut self, day: u64) {
        let weekday = WEEKDAYS[(day % 7) as usize];
        let sql = format!("dsmrreader-postgresql-backup-{weekday}.sql");
        let dump = Self::dump(day, 50_000 + 100 * day as usize);
        // The hour of the synchronisation may strike at any point.
        self.world.write_just_now(&sql, &dump[..20_000]);
        self.run_and_check(day);
        if day == FAILED_DUMP {
            // The dump breaks off: the half file stays, and the dump of last week with it.
            self.write(&sql, &dump[..20_000], day);
            return;
        }
        let packed = format!("{sql}.gz");
        self.world.write_just_now(&packed, &dump[..10_000]);
        self.run_and_check(day);
        let length = if day == CORRUPT_DUMP {
            1000
        } else {
            dump.len()
        };
        self.write(&packed, &dump[..length], day);
        self.world.remove(&sql);
        if day.is_multiple_of(7) {
            let month = 10 + day / 31;
            let archive = format!(
                "archive/2026/{month:02}/dsmrreader-postgresql-partial-backup-Monday.sql.gz"
            );
            self.write(&archive, &Self::dump(1000 + day, 8000), day);
        }
    }

    /// One run, and what must be true after each: no file in Dropbox that was not whole at its time.
    fn run_and_check(&self, day: u64) -> Ended {
        let token = self.world.config()["dropboxRefreshToken"].clone();
        let ended = self.world.run();
        assert_eq!(
            self.world.config()["dropboxRefreshToken"],
            token,
            "day {day}"
        );
        assert!(token.is_string());
        // Nothing in all these weeks is worth a warning but the one dump that is not whole.
        let warnings = ended.log.lines().filter(|line| line.starts_with("WARNING"));
        for warning in warnings {
            let is_due = day == CORRUPT_DUMP && warning.contains("has suddenly become");
            assert!(is_due, "day {day}: {}", ended.log);
        }
        for (name, hash) in self.world.stored() {
            let whole = self.whole.get(&name).is_some_and(|all| all.contains(&hash));
            assert!(whole, "day {day}: {name} is not whole\n{}", ended.log);
        }
        ended
    }
}

#[test]
fn six_weeks_of_dumps_end_with_exactly_the_right_files() {
    let mut house = House {
        world: FolderWorld::new(),
        whole: BTreeMap::new(),
    };
    house.write("archive/README.txt", b"Partial backups of the past.", 0);
    house.world.write("archive/.gitkeep", "");
    for day in 0..DAYS {
        if day == OUTAGE.start {
            for route in ["files/*", "oauth2/token"] {
                house
                    .world
                    .dropbox
                    .inject(On::every(route), faults::server_error());
            }
        } else if day == OUTAGE.end {
            house.world.dropbox.traffic().clear_faults();
        }
        if day == FULL.start {
            house.world.dropbox.set_quota(1_000_000, 1_000_000);
        } else if day == FULL.end {
            house.world.dropbox.set_quota(1_000_000_000, 0);
        }
        house.back_up(day);
        let before = house.world.stored();
        let ended = house.run_and_check(day);
        match day {
            CORRUPT_DUMP => {
                ended.assert_line(&["WARNING", "-Thursday.sql.gz\" has suddenly become"])
            }
            day if OUTAGE.contains(&day) => {
                assert_eq!(ended.code, Some(1));
                ended.assert_line(&["ERROR", "The stored authorization is kept"]);
                assert_eq!(house.world.stored(), before);
            }
            day if FULL.contains(&day) => {
                assert_eq!(ended.code, Some(1));
                ended.assert_line(&["ERROR", "Dropbox is full"]);
                // The dumps of other days are all there.
                assert_eq!(house.world.stored().len(), before.len());
            }
            _ => assert_eq!(ended.code, Some(0), "day {day}: {}", ended.log),
        }
        if day == FAILED_DUMP + 3 {
            // Somebody tidies up.
            house
                .world
                .remove("dsmrreader-postgresql-backup-Thursday.sql");
            house.run_and_check(day).assert_line(&["1 deleted"]);
        }
    }
    let mut expected: Vec<String> = WEEKDAYS
        .iter()
        .map(|day| format!("dsmrreader-postgresql-backup-{day}.sql.gz"))
        .collect();
    for month in ["10", "11"] {
        expected.push(format!(
            "archive/2026/{month}/dsmrreader-postgresql-partial-backup-Monday.sql.gz"
        ));
    }
    expected.push("archive/README.txt".into());
    let names: Vec<&str> = expected.iter().map(String::as_str).collect();
    house.world.assert_stored(&names);
    let last = house.run_and_check(DAYS);
    last.assert_line(&["Finished: 0 uploaded", "0 deleted", "10 unchanged"]);
}
