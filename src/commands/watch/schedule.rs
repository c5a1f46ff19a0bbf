//! When a watcher's runs begin. Pure.

use std::fmt;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::text;
use crate::zone::Zone;

/// Distances between two runs that can be asked for.
const EVERY_MIN: TimeDelta = TimeDelta::minutes(5);
const EVERY_MAX: TimeDelta = TimeDelta::days(7);
/// So much later than planned a run may begin, so that not all machines ask Dropbox in the same second.
const JITTER_MAX: TimeDelta = TimeDelta::minutes(5);
/// Of a distance, one part of so many.
const JITTER_PART: i32 = 10;

/// When runs begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// So long after the beginning of the one before.
    Every(TimeDelta),
    /// Once a day, at this time of this timezone.
    Daily(NaiveTime, Zone),
}

impl Schedule {
    /// What the options say, of which one may be there; without any, it is every hour.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(
        at: Option<&str>,
        every: Option<&str>,
        zone: impl FnOnce() -> Result<Zone, String>,
    ) -> Result<Self, String> {
        match (at, every) {
            (Some(_), Some(_)) => Err("--at and --every exclude each other".into()),
            (Some(at), None) => {
                let time = time(at).ok_or_else(|| {
                    format!("--at needs a time from 00:00 to 23:59, such as 03:30, not {at:?}")
                })?;
                Ok(Self::Daily(time, zone()?))
            }
            (None, every) => {
                let every = every.unwrap_or("1h");
                let known = distance(every);
                let known = known.filter(|every| (EVERY_MIN..=EVERY_MAX).contains(every));
                known.map(Self::Every).ok_or_else(|| {
                    format!(
                        "--every needs a time from 5m to 7d, such as 30m, 6h or 1d, not {every:?}"
                    )
                })
            }
        }
    }

    /// The moment of the next run, for a run that began then.
    pub fn next(self, begun: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Every(distance) => begun + distance,
            Self::Daily(time, zone) => {
                let today = zone.local(begun).date_naive();
                // A moment may be on the day behind the one that it belongs to, if clocks skip midnight.
                let days = today.pred_opt().unwrap_or(today).iter_days().take(5);
                let mut moments = days.filter_map(|day| {
                    let moment = zone.first_moment(day.and_time(time));
                    // A day that a country skips has no moment.
                    let last_before = moment - TimeDelta::seconds(1);
                    let is_real = [moment, last_before].map(|m| zone.local(m).date_naive() == day);
                    is_real.contains(&true).then_some(moment)
                });
                let next = moments.find(|moment| *moment > begun);
                next.unwrap_or(begun + self.interval())
            }
        }
    }

    /// So much later than planned a run may begin.
    pub fn jitter(self) -> TimeDelta {
        (self.interval() / JITTER_PART).min(JITTER_MAX)
    }

    /// The usual distance between two runs.
    pub fn interval(self) -> TimeDelta {
        match self {
            Self::Every(distance) => distance,
            Self::Daily(..) => TimeDelta::days(1),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(distance) => {
                let distance = distance.to_std().unwrap_or_default();
                write!(f, "every {}", text::duration(distance))
            }
            Self::Daily(time, zone) => {
                write!(f, "every day at {} ({})", time.format("%H:%M"), zone.name())
            }
        }
    }
}

fn time(text: &str) -> Option<NaiveTime> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true if (1..=2).contains(&text.len()) => text.parse().ok(),
        _ => None,
    };
    NaiveTime::from_hms_opt(number(hour)?, number(minute)?, 0)
}

fn distance(text: &str) -> Option<TimeDelta> {
    let text = text.trim();
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = i64::from(number.parse::<u32>().ok()?);
    match unit {
        "m" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Days, NaiveDate};
    use chrono_tz::TZ_VARIANTS;
    use proptest::prelude::*;

    use super::*;

    fn parse(at: Option<&str>, every: Option<&str>) -> Option<Schedule> {
        Schedule::parse(at, every, || Ok(Zone::UTC)).ok()
    }

    #[test]
    fn what_can_be_asked_for() {
        let daily = |hour, minute| {
            let time = NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
            Some(Schedule::Daily(time, Zone::UTC))
        };
        for (text, expected) in [
            ("03:30", daily(3, 30)),
            ("3:05", daily(3, 5)),
            ("00:00", daily(0, 0)),
            ("23:59", daily(23, 59)),
            ("24:00", None),
            ("12:60", None),
            ("0330", None),
            ("+3:30", None),
            ("003:30", None),
            ("3:", None),
            ("03:30:00", None),
            ("", None),
        ] {
            assert_eq!(parse(Some(text), None), expected, "{text:?}");
        }
        for (text, minutes) in [
            ("5m", Some(5)),
            ("90m", Some(90)),
            ("1h", Some(60)),
            ("7d", Some(7 * 24 * 60)),
            ("4m", None),
            ("8d", None),
            ("0h", None),
            ("-1h", None),
            ("1.5h", None),
            ("1", None),
            ("h", None),
            ("1w", None),
            ("4294967296d", None),
            ("1µ", None),
            ("", None),
        ] {
            let expected = minutes.map(|minutes| Schedule::Every(TimeDelta::minutes(minutes)));
            assert_eq!(parse(None, Some(text)), expected, "{text:?}");
        }
        let hourly = Schedule::Every(TimeDelta::hours(1));
        assert_eq!(parse(None, None), Some(hourly));
        assert_eq!(parse(Some("03:30"), Some("1h")), None);
    }

    /// The local times of the runs on days around a change of the clocks, one run a line.
    fn runs(zone: &str, at: &str, from: &str, days: usize) -> Vec<String> {
        let zone: Zone = zone.parse().unwrap();
        let schedule = Schedule::parse(Some(at), None, || Ok(zone)).unwrap();
        let mut last = from.parse::<DateTime<Utc>>().unwrap();
        let times = std::iter::repeat_with(|| {
            last = schedule.next(last);
            zone.local(last).format("%m-%d %H:%M %z").to_string()
        });
        times.take(days).collect()
    }

    #[test]
    fn a_time_that_clocks_skip_or_show_twice_is_one_run() {
        for (zone, at, from, expected) in [
            (
                "Europe/Vienna",
                "02:30",
                "2027-03-27T00:00:00Z",
                [
                    "03-27 02:30 +0100",
                    "03-28 03:00 +0200",
                    "03-29 02:30 +0200",
                ],
            ),
            (
                "Europe/Vienna",
                "02:30",
                "2027-10-30T00:00:00Z",
                [
                    "10-30 02:30 +0200",
                    "10-31 02:30 +0200",
                    "11-01 02:30 +0100",
                ],
            ),
            (
                "America/New_York",
                "02:15",
                "2027-03-13T05:00:00Z",
                [
                    "03-13 02:15 -0500",
                    "03-14 03:00 -0400",
                    "03-15 02:15 -0400",
                ],
            ),
            (
                "America/New_York",
                "01:45",
                "2027-11-06T04:00:00Z",
                [
                    "11-06 01:45 -0400",
                    "11-07 01:45 -0400",
                    "11-08 01:45 -0500",
                ],
            ),
            // Half an hour.
            (
                "Australia/Lord_Howe",
                "02:10",
                "2027-10-01T14:00:00Z",
                [
                    "10-02 02:10 +1030",
                    "10-03 02:30 +1100",
                    "10-04 02:10 +1100",
                ],
            ),
            (
                "Australia/Lord_Howe",
                "01:40",
                "2027-04-02T13:00:00Z",
                [
                    "04-03 01:40 +1100",
                    "04-04 01:40 +1100",
                    "04-05 01:40 +1030",
                ],
            ),
            // Samoa had no 30th of December 2011.
            (
                "Pacific/Apia",
                "03:00",
                "2011-12-29T00:00:00Z",
                [
                    "12-29 03:00 -1000",
                    "12-31 03:00 +1400",
                    "01-01 03:00 +1400",
                ],
            ),
        ] {
            assert_eq!(runs(zone, at, from, 3), expected, "{zone} {at}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// In every zone, every day has exactly one moment: it is the time that was asked for, or, where clocks skip
        /// that, the moment at which they do.
        #[test]
        fn every_day_has_one_run(
            name in prop::sample::select(TZ_VARIANTS.to_vec()),
            day in 0..20 * 365_u64,
            minute in 0..24 * 60_u32,
        ) {
            let zone: Zone = name.name().parse().unwrap();
            let time = NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).unwrap();
            let schedule = Schedule::Daily(time, zone);
            let day = NaiveDate::from_ymd_opt(2020, 1, 1).unwrap() + Days::new(day);
            let mut last = schedule.next(zone.first_moment(day.and_time(NaiveTime::MIN)) - TimeDelta::seconds(1));
            for day in day.iter_days().take(4) {
                let shown = zone.local(last).naive_local();
                let wanted = day.and_time(time);
                let before = zone.local(last - TimeDelta::seconds(1)).naive_local();
                prop_assert!(shown == wanted || (before < wanted && wanted < shown), "{name} {wanted} {shown}");
                // Nor did clocks show it within the hours before.
                let mut earlier = (1..=180).map(|minutes| zone.local(last - TimeDelta::minutes(minutes)));
                prop_assert!(earlier.all(|earlier| earlier.naive_local() != wanted), "{name} {wanted}");
                // Wherever in the run's time one looks, the next one is another.
                prop_assert_eq!(schedule.next(last), schedule.next(last + schedule.jitter()));
                last = schedule.next(last);
            }
        }
    }
}
