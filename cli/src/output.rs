//! How things are printed: tables and texts for people, JSON for programs.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;

/// Characters of a value that a person is shown in a table.
const SHOWN_CHARS_MAX: usize = 100;

/// Prints one line of text. A reader that has gone away is no trouble of ours.
pub(crate) fn line(text: impl std::fmt::Display) -> io::Result<()> {
    ignore_closed(writeln!(io::stdout().lock(), "{text}"))
}

/// Prints a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string(value).map_err(io::Error::other)?)
}

/// Prints a value as JSON to be read by people too.
pub(crate) fn json_pretty(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string_pretty(value).map_err(io::Error::other)?)
}

fn ignore_closed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result,
    }
}

/// A table without lines, as wide as the terminal.
pub(crate) fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

/// Prints a table with its left margin and trailing blanks taken off.
pub(crate) fn print_table(table: &Table) -> io::Result<()> {
    for row in table.lines() {
        let row = row.strip_prefix(' ').unwrap_or(&row);
        line(row.trim_end())?;
    }
    Ok(())
}

/// A text on one line, cut where it is too long for a table.
pub(crate) fn shortened(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// So many of something, as people say it: 1 partition, 8 partitions.
pub(crate) fn count(number: impl Into<u64>, what: &str) -> String {
    match number.into() {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

/// A moment, to the second.
pub(crate) fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A duration in the unit that suits it.
pub(crate) fn lasted(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1_000.0)
    } else if seconds < 120.0 {
        format!("{seconds:.2} s")
    } else if seconds < 7_200.0 {
        format!("{:.0} min", seconds / 60.0)
    } else if seconds < 172_800.0 {
        format!("{:.1} h", seconds / 3_600.0)
    } else {
        format!("{:.1} d", seconds / 86_400.0)
    }
}

/// How long after `earlier` a moment is; zero if it is not.
pub(crate) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    later.duration_since(earlier).try_into().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters_and_stay_on_one_line() {
        let long = "ä".repeat(SHOWN_CHARS_MAX + 1);
        assert_eq!(shortened(&long).chars().count(), SHOWN_CHARS_MAX + 1);
        assert!(shortened(&long).ends_with('…'));
        assert_eq!(shortened("a\nb\u{1b}[31m"), "a b [31m");
    }

    #[test]
    fn durations_have_the_unit_that_suits_them() {
        let shown = |millis| lasted(Duration::from_millis(millis));
        assert_eq!(
            [shown(12), shown(1_500), shown(300_000), shown(10_800_000), shown(259_200_000)],
            ["12.0 ms", "1.50 s", "5 min", "3.0 h", "3.0 d"]
        );
    }
}
