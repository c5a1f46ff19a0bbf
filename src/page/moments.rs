//! Times as people read them, and which distance between two of them is usual. Pure.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, TimeDelta, Utc};

use crate::zone::Zone;

/// The time of the page, and the timezone of all its times.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// The time of the page.
    pub now: DateTime<Utc>,
    /// The host's timezone.
    pub zone: Zone,
}

/// Distances that are shorter are no usual ones: somebody has clicked, or a run was carried on.
const CHANCE: TimeDelta = TimeDelta::hours(1);
/// So many distances tell what is usual.
const DISTANCES_MAX: usize = 10;
/// What is usual until something is known.
const DAY: TimeDelta = TimeDelta::days(1);

impl Moments {
    fn local(&self, moment: DateTime<Utc>) -> DateTime<FixedOffset> {
        self.zone.local(moment)
    }

    /// `today 04:12`, `yesterday 04:12` or `19 November 2026, 04:12`.
    pub fn at(&self, moment: DateTime<Utc>) -> String {
        let local = self.local(moment);
        let today = self.local(self.now).date_naive();
        let day = local.date_naive();
        let time = local.format("%H:%M");
        if day == today {
            format!("today {time}")
        } else if today.pred_opt() == Some(day) {
            format!("yesterday {time}")
        } else {
            format!("{}, {time}", long_day(day))
        }
    }

    /// `Thu 19 Nov, 04:12`, with the year where it is another one.
    pub fn day(&self, moment: DateTime<Utc>) -> String {
        let (local, now) = (self.local(moment), self.local(self.now));
        let format = match local.year() == now.year() {
            true => "%a %-d %b, %H:%M",
            false => "%a %-d %b %Y, %H:%M",
        };
        local.format(format).to_string()
    }

    /// `November 2026`
    pub fn month(&self, moment: DateTime<Utc>) -> String {
        self.local(moment).format("%B %Y").to_string()
    }

    /// `2026-11-19 04:12`, for tables.
    pub fn short(&self, moment: DateTime<Utc>) -> String {
        self.local(moment).format("%Y-%m-%d %H:%M").to_string()
    }

    /// The timezone and its current offset: `Europe/Vienna (UTC+01:00)`.
    pub fn zone_name(&self) -> String {
        let offset = self.local(self.now).format("%:z").to_string();
        format!("{} (UTC{offset})", self.zone.name())
    }

    /// Whether more than two usual distances have passed since `last`, and more than two days.
    pub fn is_overdue(&self, last: DateTime<Utc>, usual: TimeDelta) -> bool {
        self.now - last > (usual * 2).max(DAY * 2)
    }
}

fn long_day(day: NaiveDate) -> String {
    day.format("%-d %B %Y").to_string()
}

/// The usual distance between the newest of these times, which are in order: their median.
pub fn usual_distance(times: impl DoubleEndedIterator<Item = DateTime<Utc>>) -> TimeDelta {
    let mut later = None;
    let mut distances = Vec::new();
    for time in times.rev() {
        if let Some(later) = later.replace(time) {
            let distance = later - time;
            if distance > CHANCE {
                distances.push(distance);
            }
        }
        if distances.len() == DISTANCES_MAX {
            break;
        }
    }
    distances.sort();
    distances.get(distances.len() / 2).copied().unwrap_or(DAY)
}

/// `every day`, `every 6 hours`.
pub fn every(distance: TimeDelta) -> String {
    let hours = (distance.num_minutes() + 30) / 60;
    match hours {
        ..=1 => "every hour".into(),
        2..23 => format!("every {hours} hours"),
        23..36 => "every day".into(),
        _ => format!("every {} days", (hours + 12) / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn times_read_well_in_the_hosts_timezone() {
        let moments = Moments {
            now: time("2026-11-21T22:30:00Z"),
            zone: "Europe/Vienna".parse().unwrap(),
        };
        for (moment, text) in [
            ("2026-11-21T03:12:09Z", "today 04:12"),
            ("2026-11-20T23:00:00Z", "today 00:00"),
            ("2026-11-20T22:59:59Z", "yesterday 23:59"),
            ("2026-11-19T03:12:09Z", "19 November 2026, 04:12"),
            ("2026-11-22T03:12:09Z", "22 November 2026, 04:12"),
        ] {
            assert_eq!(moments.at(time(moment)), text);
        }
        assert_eq!(
            moments.short(time("2026-07-01T03:12:09Z")),
            "2026-07-01 05:12"
        );
        assert_eq!(moments.zone_name(), "Europe/Vienna (UTC+01:00)");
        assert_eq!(
            moments.day(time("2026-07-01T23:12:09Z")),
            "Thu 2 Jul, 01:12"
        );
        assert_eq!(
            moments.day(time("2025-12-31T22:59:09Z")),
            "Wed 31 Dec 2025, 23:59"
        );
        assert_eq!(moments.month(time("2026-10-31T23:30:00Z")), "November 2026");
    }

    #[test]
    fn the_usual_distance_is_not_that_of_clicks() {
        let day = |day: i64| time("2026-11-01T03:00:00Z") + TimeDelta::days(day);
        let clicked = |day: DateTime<Utc>| day + TimeDelta::minutes(5);
        let times = [day(0), day(7), clicked(day(7)), day(14), day(15), day(21)];
        assert_eq!(usual_distance(times.into_iter()), day(14) - clicked(day(7)));
        assert_eq!(usual_distance([day(0), clicked(day(0))].into_iter()), DAY);
        assert_eq!(usual_distance([].into_iter()), DAY);
    }

    #[test]
    fn two_usual_distances_are_the_limit_but_two_days_at_least() {
        let moments = |now: &str| Moments {
            now: time(now),
            zone: Zone::UTC,
        };
        let last = time("2026-11-01T03:00:00Z");
        let hour = TimeDelta::hours(1);
        assert!(!moments("2026-11-03T03:00:00Z").is_overdue(last, hour));
        assert!(moments("2026-11-03T03:00:01Z").is_overdue(last, hour));
        assert!(!moments("2026-11-15T03:00:00Z").is_overdue(last, TimeDelta::days(7)));
        assert!(moments("2026-11-15T03:00:01Z").is_overdue(last, TimeDelta::days(7)));
        assert!(
            !moments("2026-10-01T03:00:00Z").is_overdue(last, DAY),
            "a clock set back"
        );
    }

    #[test]
    fn distances_are_rounded() {
        let text = |minutes| every(TimeDelta::minutes(minutes));
        assert_eq!(text(5), "every hour");
        assert_eq!(text(6 * 60 - 3), "every 6 hours");
        assert_eq!(text(24 * 60 + 10), "every day");
        assert_eq!(text(7 * 24 * 60), "every 7 days");
    }
}
