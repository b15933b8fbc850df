//! `everstep run --each`: a run for each line of the input.

use std::process::ExitCode;

use everstep::RunId;
use everstep_common::limits::START_MANY_MAX;
use serde::Deserialize;
use serde_json::{Value, json};

use super::start;
use crate::arguments::{Global, Run};
use crate::connection::open;
use crate::output;
use crate::problem::{Exit, Problem, chain};

/// One line: the input itself, or the input with what is the run's own.
#[derive(Debug, PartialEq)]
struct Line {
    /// Where it stands in the text, from 1.
    number: usize,
    input: Value,
    key: Option<String>,
}

/// The second form of a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    input: Value,
    #[serde(default)]
    key: Option<String>,
}

/// Starts all of them. One that is refused leaves the others as they are; its reason goes to standard error.
pub(super) async fn run(global: &Global, arguments: &Run, text: &str) -> Result<ExitCode, Problem> {
    let lines = lines(text)?;
    let connection = open(global).await?;
    if arguments.dry_run {
        eprintln!("would start {} runs of {}", lines.len(), arguments.workflow);
        return Ok(ExitCode::SUCCESS);
    }
    let mut failed = 0;
    for part in lines.chunks(START_MANY_MAX) {
        let starts = part
            .iter()
            .map(|line| start(&connection, arguments, &line.input, line.key.as_deref()));
        let started = connection.client.start_many(starts).await?;
        for (Line { number, .. }, started) in part.iter().zip(started) {
            match started {
                Ok(run) => tell(global, *number, run.id())?,
                Err(error) => {
                    failed += 1;
                    eprintln!("line {number}: {}", chain(&error));
                }
            }
        }
    }
    match failed {
        0 => Ok(ExitCode::SUCCESS),
        failed => Err(Problem::new(
            Exit::Failed,
            format_args!("{failed} of {} runs were not started", lines.len()),
        )
        .hint("with keys of their own, all lines may be given again: those that were started stay as they are")),
    }
}

fn tell(global: &Global, number: usize, run: &RunId) -> std::io::Result<()> {
    match global.json {
        true => output::json(&json!({ "line": number, "run": run })),
        false => output::line(run),
    }
}

fn lines(text: &str) -> Result<Vec<Line>, Problem> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines.map(|(line, number)| read(line, number)).collect()
}

fn read(line: &str, number: usize) -> Result<Line, Problem> {
    let value: Value = serde_json::from_str(line).map_err(|error| {
        Problem::new(Exit::Usage, format_args!("line {number} is not JSON: {error}")).hint("each line is an input")
    })?;
    let is_named = value.as_object().is_some_and(|object| object.contains_key("input"));
    if !is_named {
        return Ok(Line {
            number,
            input: value,
            key: None,
        });
    }
    let Named { input, key } = Named::deserialize(&value).map_err(|error| {
        Problem::new(Exit::Usage, format_args!("line {number}: {error}"))
            .hint("an object with a field `input` has besides it `key` and nothing else; an input that is such an object is given as {\"input\": {…}}")
    })?;
    Ok(Line { number, input, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_input_or_names_it() {
        let check = |line: &str, input: Value, key: Option<&str>| {
            let (number, key) = (1, key.map(str::to_owned));
            let read = lines(line).unwrap_or_else(|problem| panic!("{line}: {problem:?}"));
            assert_eq!(read, [Line { number, input, key }], "{line}");
        };
        check("7\n\n", json!(7), None);
        check(r#"{"input": 7, "key": "a"}"#, json!(7), Some("a"));
        check(r#"{"input": {"key": "b"}}"#, json!({ "key": "b" }), None);
        check(r#"{"input": {"input": 7}}"#, json!({ "input": 7 }), None);
        check(r#"{"more": 1}"#, json!({ "more": 1 }), None);
    }

    #[test]
    fn a_field_that_is_misspelled_starts_nothing() {
        for (text, number) in [("7\n\nseven", "line 3"), (r#"{"input": 7, "kye": "a"}"#, "line 1")] {
            let problem = lines(text).expect_err(text);
            assert!(format!("{problem:?}").contains(number), "{problem:?}");
        }
    }
}
