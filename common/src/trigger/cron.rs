//! Cron expressions: which times they name, in which time zone.
//!
//! Five fields (minute, hour, day of month, month, day of week), or six with seconds before them; lists, ranges, steps and names of months
//! and days; `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. If both days are restricted, either will do.
//!
//! Clocks that are put forward and back: an expression with fixed hours names each of its times once a day: one that does not exist that
//! day is as much later as the clock was put forward, one that exists twice is the first. An expression with `*` or a step for the hour
//! goes on with real time.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// Days looked through for the next time: 29 February can be eight years away.
const DAYS_MAX: usize = 366 * 9;

/// An expression in its time zone.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    seconds: Field,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
    zone: TimeZone,
}

/// The numbers that a field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// It begins with `*` or `?`.
    star: bool,
}

/// What a field may hold.
struct Range {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const SECONDS: Range = Range {
    name: "second",
    first: 0,
    last: 59,
    names: &[],
};
const MINUTES: Range = Range {
    name: "minute",
    first: 0,
    last: 59,
    names: &[],
};
const HOURS: Range = Range {
    name: "hour",
    first: 0,
    last: 23,
    names: &[],
};
const DAYS: Range = Range {
    name: "day of month",
    first: 1,
    last: 31,
    names: &[],
};
const MONTHS: Range = Range {
    name: "month",
    first: 1,
    last: 12,
    names: &[
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ],
};
/// 7 is Sunday too.
const WEEKDAYS: Range = Range {
    name: "day of week",
    first: 0,
    last: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};

impl Cron {
    /// Reads an expression; what is wrong with it otherwise.
    pub fn parse(text: &str, zone: &str) -> Result<Self, String> {
        let zone =
            TimeZone::get(zone).map_err(|_| format!("{zone:?} is no time zone of the IANA database, such as \"Europe/Berlin\""))?;
        let expanded = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let mut fields: Vec<&str> = expanded.split_whitespace().collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let [seconds, minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!(
                "{text:?} has {} fields; a cron expression has 5 (minute hour day month weekday), or 6 with seconds first",
                expanded.split_whitespace().count()
            ));
        };
        let mut weekdays = WEEKDAYS.parse(weekdays)?;
        weekdays.bits |= weekdays.bits >> 7 & 1;
        let cron = Self {
            text: text.trim().to_owned(),
            seconds: SECONDS.parse(seconds)?,
            minutes: MINUTES.parse(minutes)?,
            hours: HOURS.parse(hours)?,
            days: DAYS.parse(days)?,
            months: MONTHS.parse(months)?,
            weekdays,
            zone,
        };
        match cron.after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err(format!("{text:?} names no time at all: no such day is in such a month")),
        }
    }

    /// The first time that it names after `time`.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let mut date = time.to_zoned(self.zone.clone()).date();
        for _ in 0..DAYS_MAX {
            if self.names_day(date)
                && let Some(found) = self.on(date, time)
            {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The times that it names after `from`, up to and with `to`; of more than `max` the last ones.
    pub fn between(&self, from: Timestamp, to: Timestamp, max: usize) -> Vec<Timestamp> {
        // Looked at from the end, in ever larger windows: an expression that names every second has millions in a month.
        let mut window = SignedDuration::from_hours(1);
        loop {
            let start = to.checked_sub(window).map_or(from, |start| start.max(from));
            let mut times = self.all_between(start, to);
            if times.len() >= max || start == from {
                return times.split_off(times.len().saturating_sub(max));
            }
            window = window.saturating_add(window);
        }
    }

    fn all_between(&self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let next = |at: &Timestamp| self.after(*at).filter(|next| *next <= to);
        std::iter::successors(next(&from), next).collect()
    }

    fn names_day(&self, date: Date) -> bool {
        let day = self.days.has(date.day().unsigned_abs().into());
        let weekday = self
            .weekdays
            .has(date.weekday().to_sunday_zero_offset().unsigned_abs().into());
        let right = match (self.days.star, self.weekdays.star) {
            (false, false) => day || weekday,
            _ => day && weekday,
        };
        right && self.months.has(date.month().unsigned_abs().into())
    }

    /// The first time on that day after `time`.
    fn on(&self, date: Date, time: Timestamp) -> Option<Timestamp> {
        if self.hours.star {
            self.on_in_real_time(date, time)
        } else {
            self.on_by_the_clock(date, time)
        }
    }

    /// Each time of the clock once.
    fn on_by_the_clock(&self, date: Date, time: Timestamp) -> Option<Timestamp> {
        let mut found: Option<Timestamp> = None;
        for hour in self.hours.all() {
            for minute in self.minutes.all() {
                for second in self.seconds.all() {
                    let clock = date.at(hour, minute, second, 0);
                    let Ok(zoned) = self.zone.to_ambiguous_zoned(clock).compatible() else {
                        continue;
                    };
                    let at = zoned.timestamp();
                    if at > time && found.is_none_or(|found| at < found) {
                        found = Some(at);
                    }
                }
            }
            if found.is_some() {
                // A time that was put forward is at most some hours late, and never before the ones of an earlier hour.
                break;
            }
        }
        found
    }

    /// Whatever the clock shows, second by second, in strides.
    fn on_in_real_time(&self, date: Date, time: Timestamp) -> Option<Timestamp> {
        let start = date.to_zoned(self.zone.clone()).ok()?.timestamp();
        let end = date.tomorrow().ok()?.to_zoned(self.zone.clone()).ok()?.timestamp();
        let mut at = start.max(Timestamp::from_second(time.as_second() + 1).ok()?);
        while at < end {
            let clock = at.to_zoned(self.zone.clone());
            let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
            let whole_minute = i64::from(60 - second);
            let stride = if !self.hours.has(hour.unsigned_abs().into()) {
                i64::from(59 - minute) * 60 + whole_minute
            } else if !self.minutes.has(minute.unsigned_abs().into()) {
                whole_minute
            } else if !self.seconds.has(second.unsigned_abs().into()) {
                1
            } else {
                return Some(at);
            };
            at = at.checked_add(stride.seconds()).ok()?;
        }
        None
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Field {
    fn has(self, number: u32) -> bool {
        self.bits >> number & 1 == 1
    }

    fn all(self) -> impl Iterator<Item = i8> {
        (0_i8..60).filter(move |number| self.has(number.unsigned_abs().into()))
    }
}

impl Range {
    fn parse(&self, text: &str) -> Result<Field, String> {
        let mut bits = 0;
        for part in text.split(',') {
            bits |= self.part(part).ok_or_else(|| {
                format!(
                    "{part:?} is no {}: write numbers from {} to {}, ranges as 1-5, steps as */15",
                    self.name, self.first, self.last
                )
            })?;
        }
        Ok(Field {
            bits,
            star: text.starts_with(['*', '?']),
        })
    }

    fn part(&self, part: &str) -> Option<u64> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (self.first, if self.last == 7 { 6 } else { self.last }),
            Some((first, last)) => (self.number(first)?, self.number(last)?),
            // As cron has it, `5/15` goes on to the end.
            None if step.is_some() => (self.number(range)?, self.last),
            None => (self.number(range)?, self.number(range)?),
        };
        if first > last {
            return None;
        }
        let numbers = (first..=last).step_by(step.unwrap_or(1));
        Some(numbers.fold(0, |bits, number| bits | 1 << number))
    }

    fn number(&self, text: &str) -> Option<u32> {
        let by_name = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match by_name {
            Some(position) => self.first + u32::try_from(position).ok()?,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (self.first..=self.last).contains(&number).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(text, zone).unwrap();
        let mut at: Timestamp = from.parse().unwrap();
        let mut times = Vec::new();
        for _ in 0..count {
            at = cron.after(at).unwrap();
            times.push(at.to_string());
        }
        times
    }

    #[test]
    fn expressions_name_their_times() {
        let check =
            |text: &str, wanted: &[&str]| assert_eq!(times(text, "UTC", "2026-01-31T08:59:59Z", wanted.len()), wanted, "{text}");
        check("0 9 * * *", &["2026-01-31T09:00:00Z", "2026-02-01T09:00:00Z"]);
        check(
            "*/20 9-10 * * *",
            &[
                "2026-01-31T09:00:00Z",
                "2026-01-31T09:20:00Z",
                "2026-01-31T09:40:00Z",
                "2026-01-31T10:00:00Z",
            ],
        );
        check("30 8 1,15 * *", &["2026-02-01T08:30:00Z", "2026-02-15T08:30:00Z"]);
        check("0 0 29 2 *", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
        check("0 12 * * MON-FRI", &["2026-02-02T12:00:00Z", "2026-02-03T12:00:00Z"]);
        check("0 12 * * 7", &["2026-02-01T12:00:00Z", "2026-02-08T12:00:00Z"]);
        check("0 0 13 * FRI", &["2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z"]);
        check("*/10 * * * * *", &["2026-01-31T09:00:00Z", "2026-01-31T09:00:10Z"]);
        check("@monthly", &["2026-02-01T00:00:00Z"]);
        check(
            "5/25 9 * * *",
            &["2026-01-31T09:05:00Z", "2026-01-31T09:30:00Z", "2026-01-31T09:55:00Z"],
        );
    }

    #[test]
    fn fixed_hours_come_once_a_day_when_clocks_are_changed() {
        // In Berlin 02:00 to 03:00 does not exist on 29 March 2026, and exists twice on 25 October.
        let spring = times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(spring, ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]);
        let autumn = times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let nine = times("0 9 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 2);
        assert_eq!(nine, ["2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z"]);
    }

    #[test]
    fn any_hour_goes_on_with_real_time_when_clocks_are_changed() {
        let autumn = times("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 3);
        assert_eq!(
            autumn,
            ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]
        );
    }

    #[test]
    fn of_too_many_times_the_last_ones_count() {
        let cron = Cron::parse("* * * * *", "UTC").unwrap();
        let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(3_600).unwrap());
        assert_eq!(cron.between(from, to, 100).len(), 60);
        let last = cron.between(from, to, 2);
        assert_eq!(last, [Timestamp::from_second(3_540).unwrap(), to]);
    }

    #[test]
    fn what_is_no_expression_is_refused_with_the_field() {
        for (text, zone, wanted) in [
            ("0 9 * *", "UTC", "4 fields"),
            ("60 9 * * *", "UTC", "minute"),
            ("0 9 0 * *", "UTC", "day of month"),
            ("0 9 * FOO *", "UTC", "month"),
            ("0 9 * * 5-1", "UTC", "day of week"),
            ("*/0 * * * *", "UTC", "minute"),
            ("0 0 30 2 *", "UTC", "no time at all"),
            ("0 9 * * *", "Europe/Nowhere", "time zone"),
        ] {
            let reason = Cron::parse(text, zone).unwrap_err();
            assert!(reason.contains(wanted), "{text:?}: {reason}");
        }
    }
}
