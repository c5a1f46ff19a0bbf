//! Six weeks of a watcher beside a DSMR-reader in Casablanca, where clocks went back for Ramadan in 2024 and
//! forward again: a dump a night, a restart every third day, a week without Dropbox.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use sandbox::dropbox::faults;
use sandbox::http::On;

use super::clock::Timed;

const DAYS: u64 = 42;
const OUTAGE: std::ops::Range<u64> = 20..27;
const WEEKDAYS: [&str; 7] = ["Wed", "Thu", "Fri", "Sat", "Sun", "Mon", "Tue"];

fn dump(day: u64) -> String {
    format!(
        "dsmrreader-postgresql-backup-{}.sql.gz",
        WEEKDAYS[day as usize % 7]
    )
}

/// When clocks in Casablanca first show 02:30 on that day, or skip it.
fn due(day: NaiveDate) -> DateTime<Utc> {
    let date = |month, day| NaiveDate::from_ymd_opt(2024, month, day).unwrap();
    let is_ramadan = (date(3, 11)..date(4, 14)).contains(&day);
    let (hour, minute) = match is_ramadan {
        true => (2, 30),
        false if day == date(4, 14) => (2, 0),
        false => (1, 30),
    };
    day.and_hms_opt(hour, minute, 0).unwrap().and_utc()
}

#[test]
fn six_weeks_with_both_changes_of_the_clocks_restarts_and_an_outage() {
    let first = NaiveDate::from_ymd_opt(2024, 3, 6).unwrap();
    let begin = first.and_hms_opt(12, 0, 0).unwrap().and_utc();
    let mut timed = Timed::new("Africa/Casablanca", &["--at", "02:30"], begin);
    let behind = (Utc::now() - begin).to_std().unwrap();
    timed.world.dropbox.set_clock_back(behind);
    timed.world.write(dump(0), "the first one");
    timed.start();
    timed.wait_for_run();
    let mut restarts = 0;
    let mut last = begin;
    for day in 1..=DAYS {
        let is_out = OUTAGE.contains(&day);
        if day == OUTAGE.start {
            for route in ["files/*", "oauth2/token"] {
                let dropbox = &timed.world.dropbox;
                dropbox.inject(On::every(route), faults::server_error());
            }
        } else if day == OUTAGE.end {
            timed.world.dropbox.traffic().clear_faults();
        }
        let due = due(first + Days::new(day));
        timed
            .world
            .dropbox
            .advance_clock((due - last).to_std().unwrap());
        last = due;
        timed
            .world
            .write(dump(day), format!("the dump of day {day}"));
        timed.set(due - TimeDelta::seconds(30));
        timed.set(due + TimeDelta::minutes(6));
        let end = timed.wait_for_run();
        assert_eq!(end.starts_with("ERROR"), is_out, "day {day}: {end}");
        // Two days and a little may pass.
        let is_healthy = !(OUTAGE.start + 2..OUTAGE.end).contains(&day);
        assert_eq!(
            timed.is_healthy(),
            is_healthy,
            "day {day}: {}",
            timed.world.log()
        );
        if day % 3 == 0 {
            timed.stop();
            timed.start();
            timed.wait_for_run();
            restarts += 1;
        }
    }
    timed.stop();
    let runs = timed.runs();
    assert_eq!(runs.len() as u64, 1 + DAYS + restarts, "{runs:?}");
    let names: Vec<String> = (0..7).map(dump).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    timed.world.assert_stored(&names);
}
