//! `keepOlder`: of the backups that the source no longer has, which stay in Dropbox, and why. Pure.
//!
//! A tier keeps the oldest backup of each of the newest so many periods that have one. The oldest of a period does not
//! change once the period is over, so that what is kept stays kept until its period is too far back. Periods are those of
//! UTC: a timezone that is set, or learned late, deletes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Most periods of a tier.
const PERIODS_MAX: u16 = 1000;
/// The right form.
pub const EXAMPLE: &str = "7 daily, 4 weekly, 12 monthly, 3 yearly";

/// How long the periods of a tier are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Days.
    Daily,
    /// ISO weeks, from Monday to Sunday.
    Weekly,
    /// Months.
    Monthly,
    /// Years.
    Yearly,
}

/// How many periods of each tier keep a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepOlder {
    periods: [u16; Tier::ALL.len()],
}

/// Why a backup is kept: it is the oldest of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The tier; of several, that with the longest periods.
    pub tier: Tier,
    /// The first day of the period.
    pub first_day: NaiveDate,
    /// 1 for the newest period that has a backup.
    pub rank: u16,
    /// How many periods of this tier keep one.
    pub of: u16,
}

/// Why a text is no such policy. It is not quoted: it may be a secret in the wrong field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// What comes before a word is no number, or too large a one.
    #[error("a part without a whole number from 0 to {PERIODS_MAX} in front")]
    Number,
    /// A word for a tier in another form.
    #[error("\"{form}\", which must be \"{tier}\"")]
    Form {
        /// As it stands there.
        form: &'static str,
        /// As it must be.
        tier: Tier,
    },
    /// No tier.
    #[error("a part that is not daily, weekly, monthly or yearly")]
    Word,
    /// A tier stands there twice.
    #[error("\"{0}\" twice")]
    Twice(Tier),
}

/// What people write for a tier.
const OTHER_FORMS: [(&str, Tier); 16] = [
    ("day", Tier::Daily),
    ("days", Tier::Daily),
    ("/day", Tier::Daily),
    ("d", Tier::Daily),
    ("week", Tier::Weekly),
    ("weeks", Tier::Weekly),
    ("/week", Tier::Weekly),
    ("w", Tier::Weekly),
    ("month", Tier::Monthly),
    ("months", Tier::Monthly),
    ("/month", Tier::Monthly),
    ("m", Tier::Monthly),
    ("year", Tier::Yearly),
    ("years", Tier::Yearly),
    ("/year", Tier::Yearly),
    ("y", Tier::Yearly),
];

impl Tier {
    /// All of them, the shortest periods first.
    pub const ALL: [Self; 4] = [Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];

    /// The first day of the period that a time lies in.
    fn first_day(self, time: DateTime<Utc>) -> NaiveDate {
        let day = time.date_naive();
        let first = match self {
            Self::Daily => Some(day),
            Self::Weekly => {
                let since_monday = i64::from(day.weekday().num_days_from_monday());
                day.checked_sub_signed(TimeDelta::days(since_monday))
            }
            Self::Monthly => day.with_day(1),
            Self::Yearly => NaiveDate::from_ymd_opt(day.year(), 1, 1),
        };
        // At the beginning of what the calendar can say.
        first.unwrap_or(day)
    }

    /// What one of its periods is called.
    fn period(self) -> &'static str {
        match self {
            Self::Daily => "day",
            Self::Weekly => "week",
            Self::Monthly => "month",
            Self::Yearly => "year",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        })
    }
}

impl FromStr for KeepOlder {
    type Err = Unreadable;

    /// `7 daily, 4 weekly, 12 monthly, 3 yearly`: parts in any order, each once at most.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let text = text.to_ascii_lowercase();
        let is_between = |c: char| c == ',' || c == ';' || c.is_whitespace();
        let mut words = text.split(is_between).filter(|word| !word.is_empty());
        let mut periods = [None; Tier::ALL.len()];
        while let Some(word) = words.next() {
            let (number, attached) = match word.split_once('/') {
                Some((number, _)) => (number, word.get(number.len()..)),
                None => (word, None),
            };
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse().ok().filter(|&number| number <= PERIODS_MAX);
            let number: u16 = number.filter(|_| is_number).ok_or(Unreadable::Number)?;
            let tier = attached.or_else(|| words.next()).unwrap_or_default();
            let tier = tier_of(tier)?;
            let known = &mut periods[tier as usize];
            if known.replace(number).is_some() {
                return Err(Unreadable::Twice(tier));
            }
        }
        Ok(Self {
            periods: periods.map(Option::unwrap_or_default),
        })
    }
}

fn tier_of(word: &str) -> Result<Tier, Unreadable> {
    if let Some(tier) = Tier::ALL.into_iter().find(|tier| tier.to_string() == word) {
        return Ok(tier);
    }
    let mut forms = OTHER_FORMS.into_iter();
    match forms.find(|(form, _)| *form == word) {
        Some((form, tier)) => Err(Unreadable::Form { form, tier }),
        None => Err(Unreadable::Word),
    }
}

impl KeepOlder {
    /// Whether no backup is kept by it.
    pub fn is_empty(&self) -> bool {
        self.periods == [0; Tier::ALL.len()]
    }

    /// Of the backups of one series, those that are kept. What is made after `now` occupies no period; it is not among them.
    pub fn kept<K: Ord + Copy>(
        &self,
        backups: impl IntoIterator<Item = (DateTime<Utc>, K)>,
        now: DateTime<Utc>,
    ) -> BTreeMap<K, Kept> {
        let backups = backups.into_iter().filter(|(time, _)| *time <= now);
        let mut backups: Vec<(DateTime<Utc>, K)> = backups.collect();
        backups.sort_unstable();
        let mut kept = BTreeMap::new();
        for tier in Tier::ALL {
            let of = self.periods[tier as usize];
            let mut oldest = BTreeMap::new();
            for &(time, key) in &backups {
                oldest.entry(tier.first_day(time)).or_insert(key);
            }
            for (rank, (first_day, key)) in (1..=of).zip(oldest.into_iter().rev()) {
                let reason = Kept {
                    tier,
                    first_day,
                    rank,
                    of,
                };
                kept.insert(key, reason);
            }
        }
        kept
    }
}

impl Kept {
    /// The period, for machines: `2026-11-26`, `2026-W48`, `2026-11` or `2026`.
    pub fn period(&self) -> String {
        let format = match self.tier {
            Tier::Daily => "%Y-%m-%d",
            Tier::Weekly => "%G-W%V",
            Tier::Monthly => "%Y-%m",
            Tier::Yearly => "%Y",
        };
        self.first_day.format(format).to_string()
    }
}

impl fmt::Display for Kept {
    /// `first of November 2026, month 3 of 12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.tier {
            Tier::Daily => "%-d %B %Y",
            Tier::Weekly => "week %-V of %G",
            Tier::Monthly => "%B %Y",
            Tier::Yearly => "%Y",
        };
        let (period, name) = (self.first_day.format(format), self.tier.period());
        write!(f, "first of {period}, {name} {} of {}", self.rank, self.of)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn policy(text: &str) -> KeepOlder {
        text.parse().unwrap()
    }

    #[test]
    fn a_policy_is_numbers_with_words() {
        let all = [7, 4, 12, 3];
        for (text, periods) in [
            ("7 daily, 4 weekly, 12 monthly, 3 yearly", all),
            ("3 yearly,12 monthly,4 weekly,7 daily", all),
            ("7 Daily\n4 WEEKLY; 12 monthly 3 yearly,", all),
            ("12 monthly", [0, 0, 12, 0]),
            ("1000 daily, 0 weekly", [1000, 0, 0, 0]),
            ("", [0; 4]),
        ] {
            assert_eq!(policy(text).periods, periods, "{text}");
        }
        assert!(policy("0 daily").is_empty() && !policy("1 yearly").is_empty());
        let form = |form, tier| Unreadable::Form { form, tier };
        for (text, expected) in [
            ("daily", Unreadable::Number),
            ("7", Unreadable::Word),
            ("7 daily 4", Unreadable::Word),
            ("7daily", Unreadable::Number),
            ("+7 daily", Unreadable::Number),
            ("-1 daily", Unreadable::Number),
            ("1001 daily", Unreadable::Number),
            ("99999999999 daily", Unreadable::Number),
            ("7.5 daily", Unreadable::Number),
            ("7 hourly", Unreadable::Word),
            ("7 daily, 7 daily", Unreadable::Twice(Tier::Daily)),
            ("0 weekly, 1 weekly", Unreadable::Twice(Tier::Weekly)),
            ("1 day", form("day", Tier::Daily)),
            ("4 weeks", form("weeks", Tier::Weekly)),
            ("12/month", form("/month", Tier::Monthly)),
            ("12 /month", form("/month", Tier::Monthly)),
            ("3 y", form("y", Tier::Yearly)),
            ("sl.fake-value", Unreadable::Number),
        ] {
            assert_eq!(text.parse::<KeepOlder>(), Err(expected), "{text}");
        }
        assert!(!Unreadable::Number.to_string().contains("fake"));
        assert_eq!(policy(EXAMPLE).periods, all);
    }

    #[test]
    fn each_tier_keeps_the_oldest_of_its_newest_periods() {
        let backups = [
            "2024-12-30T04:00:00Z",
            "2025-12-31T04:00:00Z",
            "2026-10-31T23:59:59Z",
            "2026-11-01T00:00:00Z",
            "2026-11-23T04:00:00Z",
            "2026-11-29T04:00:00Z",
            "2026-11-29T05:00:00Z",
            "2026-11-30T04:00:00Z",
        ];
        let now = time("2026-11-30T12:00:00Z");
        let told = |text: &str| {
            let kept = policy(text).kept(backups.iter().map(|text| (time(text), *text)), now);
            let told =
                |(id, kept): (&str, Kept)| format!("{} {kept}; {}", &id[..10], kept.period());
            kept.into_iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(
            told("2 daily"),
            [
                "2026-11-29 first of 29 November 2026, day 2 of 2; 2026-11-29",
                "2026-11-30 first of 30 November 2026, day 1 of 2; 2026-11-30",
            ]
        );
        // A week of December may be the first one of the next year.
        assert_eq!(
            told("9 weekly")[0],
            "2024-12-30 first of week 1 of 2025, week 5 of 9; 2025-W01"
        );
        assert_eq!(
            told("1 weekly, 2 monthly, 1 yearly"),
            [
                "2026-10-31 first of 2026, year 1 of 1; 2026",
                "2026-11-01 first of November 2026, month 1 of 2; 2026-11",
                "2026-11-30 first of week 49 of 2026, week 1 of 1; 2026-W49",
            ]
        );
        assert_eq!(told(""), [""; 0]);
    }

    /// Times within a few years, and some far off.
    fn times() -> impl Strategy<Value = BTreeSet<(DateTime<Utc>, u16)>> {
        let hours = prop_oneof![9 => 0..30_000i64, 1 => -300_000..600_000i64];
        prop::collection::btree_set((hours, any::<u16>()), 0..120).prop_map(|times| {
            let at = |hours| time("2024-01-01T03:30:00Z") + TimeDelta::hours(hours);
            let mut keys = BTreeSet::new();
            let times = times.into_iter().map(|(hours, key)| (at(hours), key));
            times.filter(|(_, key)| keys.insert(*key)).collect()
        })
    }

    fn keep_older() -> impl Strategy<Value = KeepOlder> {
        prop::array::uniform4(0..20u16).prop_map(|periods| KeepOlder { periods })
    }

    proptest! {
        #[test]
        fn what_is_kept_is_the_oldest_of_its_period(backups in times(), policy in keep_older(), hours in 0..30_000i64) {
            let now = time("2024-01-01T00:00:00Z") + TimeDelta::hours(hours);
            let kept = policy.kept(backups.iter().copied(), now);
            let times: BTreeMap<u16, DateTime<Utc>> = backups.iter().map(|&(time, key)| (key, time)).collect();
            for (key, kept) in &kept {
                prop_assert!(times[key] <= now, "nothing in the future takes part");
                prop_assert!((1..=kept.of).contains(&kept.rank));
                let earlier = backups.iter().filter(|(time, _)| *time < times[key]);
                prop_assert!(earlier.clone().all(|(time, _)| kept.tier.first_day(*time) != kept.first_day));
            }
            // What is in no period that counts is too far back for it.
            for (at, tier) in Tier::ALL.into_iter().enumerate() {
                let periods: BTreeSet<NaiveDate> = times.values().filter(|time| **time <= now).map(|time| tier.first_day(*time)).collect();
                let expected = periods.len().min(usize::from(policy.periods[at]));
                let mut oldest: BTreeMap<NaiveDate, (DateTime<Utc>, u16)> = BTreeMap::new();
                for &(time, key) in backups.iter().filter(|(time, _)| *time <= now) {
                    let first = oldest.entry(tier.first_day(time)).or_insert((time, key));
                    *first = (*first).min((time, key));
                }
                prop_assert!(oldest.values().rev().take(expected).all(|(_, key)| kept.contains_key(key)));
            }
        }

        #[test]
        fn what_is_kept_is_stable(backups in times(), policy in keep_older()) {
            // Night by night: what was let go earlier would not be kept later.
            let end = time("2040-01-01T00:00:00Z");
            let backups: Vec<_> = backups.into_iter().filter(|(time, _)| *time <= end).collect();
            let mut there: BTreeMap<u16, DateTime<Utc>> = BTreeMap::new();
            for (time, key) in &backups {
                there.insert(*key, *time);
                let kept = policy.kept(there.iter().map(|(key, time)| (*time, *key)), *time);
                there.retain(|key, _| kept.contains_key(key));
            }
            let at_once = policy.kept(backups.iter().copied(), end);
            let step_by_step = policy.kept(there.iter().map(|(key, time)| (*time, *key)), end);
            prop_assert_eq!(at_once, step_by_step);
        }

        #[test]
        fn a_later_backup_displaces_none_of_its_period(mut backups in times(), policy in keep_older()) {
            const LATER: u16 = u16::MAX;
            let now = time("2200-01-01T00:00:00Z");
            backups.retain(|(time, key)| *time <= now && *key != LATER);
            let before = policy.kept(backups.iter().copied(), now);
            let Some((newest, _)) = backups.last() else {
                return Ok(());
            };
            let later = newest.date_naive().and_hms_opt(23, 59, 59).unwrap().and_utc();
            backups.insert((later, LATER));
            prop_assert_eq!(policy.kept(backups, now), before);
        }

        #[test]
        fn no_text_panics(text in any::<String>(), parts in "([0-9]{0,5} ?/?[dwmy][aeilnotyhrs]{0,7},? ?){0,5}") {
            let _ = text.parse::<KeepOlder>();
            let _ = parts.parse::<KeepOlder>();
        }
    }
}
