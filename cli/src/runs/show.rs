//! `everstep runs show`: where a run stands, why, and its timeline.

use std::process::ExitCode;

use everstep::journal::{Parent, Start};
use everstep::{Inside, OpenQuestion, RunId, RunStatus, RunSummary, WaitedFor};
use everstep_common::view::GateWait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::family::{self, Child, goes_on_in, start_of};
use super::updates::{self, Update};
use super::waits::{self, Wait};
use crate::arguments::{Global, Which};
use crate::connection::{Connection, open};
use crate::output::{self, between, lasted, moment, shortened};
use crate::problem::Problem;
use crate::timeline::Line;

/// Children that are listed with a run.
const CHILDREN_SHOWN_MAX: usize = 20;

/// Unanswered updates that are listed with a run.
const UPDATES_SHOWN_MAX: usize = 20;

/// Everything that is shown of a run.
struct Shown {
    run: RunId,
    summary: RunSummary,
    start: Option<Start>,
    /// The run in which it goes on.
    goes_on_in: Option<RunId>,
    children: Vec<Child>,
    lines: Vec<Line>,
    waits: Vec<Wait>,
    questions: Vec<OpenQuestion>,
    updates: Vec<Update>,
    /// What its owner tells of it; nothing if it is over, stands still, or nobody answers.
    inside: Option<Inside>,
}

/// Shows one run.
pub(crate) async fn show(global: &Global, arguments: Which) -> Result<ExitCode, Problem> {
    let connection = open(global).await?;
    let run = connection.find_run(&arguments.run).await?;
    let shown = gather(&connection, run).await?;
    if global.json {
        output::json_pretty(&shown.json())?;
    } else {
        shown.print()?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn gather(connection: &Connection, run: RunId) -> Result<Shown, Problem> {
    let summary = connection.client.status(&run).await?;
    let journal = connection.client.history(&run).await?;
    let children = family::children(&connection.client, &journal).await?;
    let mut waits = match summary.status {
        RunStatus::Running => waits::of_run(connection, &run, &journal).await?,
        _ => Vec::new(),
    };
    if summary.status == RunStatus::Running {
        let open = children.iter().filter(|child| !child.detached && !child.ended);
        waits.extend(open.cloned().map(Wait::Child));
    }
    let questions = match summary.status {
        RunStatus::Running | RunStatus::Parked => connection.client.questions(&run).await?,
        _ => Vec::new(),
    };
    let inside = match summary.status {
        RunStatus::Running | RunStatus::Scheduled => connection.client.look_inside(&run).await.ok(),
        _ => None,
    };
    let mut lines = Vec::with_capacity(journal.len());
    for entry in &journal {
        lines.push(Line::read(&connection.client, &run, entry).await?);
    }
    Ok(Shown {
        run,
        summary,
        start: start_of(&journal).cloned(),
        goes_on_in: goes_on_in(&journal).cloned(),
        children,
        lines,
        waits,
        questions,
        updates: updates::of_run(&journal),
        inside,
    })
}

impl Shown {
    fn json(&self) -> Value {
        json!({
            "run": self.run,
            "summary": self.summary,
            "start_key": self.start.as_ref().and_then(|start| start.start_key.as_ref()),
            "traceparent": self.start.as_ref().and_then(|start| start.traceparent.as_ref()),
            "terms": self.start.as_ref().map(|start| &start.terms),
            "session": self.start.as_ref().and_then(|start| start.session.as_ref()),
            "view": self.inside.as_ref().and_then(|inside| inside.view.as_ref()),
            "state": self.inside.as_ref().map(|inside| &inside.state),
            "at_gates": self.inside.as_ref().map(|inside| &inside.at_gates),
            "parent": self.start.as_ref().and_then(|start| start.parent.as_ref()).map(parent_json),
            "continues": self.start.as_ref().and_then(|start| start.continues.as_ref()),
            "goes_on_in": self.goes_on_in,
            "children": self.children,
            "waits": self.waits,
            "questions": self.questions,
            "updates": self.updates,
            "journal": self.lines,
        })
    }

    fn print(&self) -> std::io::Result<()> {
        let summary = &self.summary;
        let field = |name: &str, value: &str| output::line(format_args!("{name:<9} {value}"));
        field("run", self.run.as_str())?;
        let version = summary.version.map(|version| format!(" v{version}")).unwrap_or_default();
        field("workflow", &format!("{}{version}", summary.workflow))?;
        field("status", &format!("{} since {}", summary.status, moment(summary.since)))?;
        field("started", &moment(summary.started))?;
        if summary.status.is_final() {
            field("took", &lasted(between(summary.started, summary.since)))?;
        }
        if let Some(reason) = &summary.reason {
            field("why", reason)?;
        }
        if let Some(key) = self.start.as_ref().and_then(|start| start.start_key.as_deref()) {
            field("key", &shortened(key))?;
        }
        if let Some(session) = self.start.as_ref().and_then(|start| start.session.as_deref()) {
            field("session", &shortened(session))?;
        }
        self.print_family(field)?;
        for (name, value) in &summary.tags {
            field("tag", &shortened(&format!("{name}={value}")))?;
        }
        if let Some(Inside { view, state, at_gates }) = &self.inside {
            if let Some(view) = view {
                field("view", &shortened(&view.to_string()))?;
            }
            for (name, value) in state {
                field("state", &shortened(&format!("{name}={value}")))?;
            }
            for wait in at_gates {
                field("waits for", &shortened(&place_text(wait)))?;
            }
        }
        for wait in &self.waits {
            field("waits for", &wait_text(wait))?;
        }
        for wait in &summary.waits {
            if let WaitedFor::Signal | WaitedFor::Update | WaitedFor::Event = wait.kind {
                field(
                    "waits for",
                    &format!("{} {}{}", wait.kind, shortened(&wait.text), until(wait.deadline)),
                )?;
            }
        }
        self.print_updates(field)?;
        for question in &self.questions {
            print_question(question)?;
        }
        output::line("")?;
        self.print_timeline()?;
        self.hint();
        Ok(())
    }

    /// Those that somebody waits for; what was answered is in the timeline.
    fn print_updates(&self, field: impl Fn(&str, &str) -> std::io::Result<()>) -> std::io::Result<()> {
        let unanswered: Vec<_> = self.updates.iter().filter(|update| update.answered.is_none()).collect();
        let standing = if self.summary.status.is_final() {
            "never answered"
        } else {
            "not answered"
        };
        for update in unanswered.iter().take(UPDATES_SHOWN_MAX) {
            let text = format!("{} ({}), {standing}, since {}", update.name, update.key, moment(update.asked));
            field("update", &shortened(&text))?;
        }
        match unanswered.len().checked_sub(UPDATES_SHOWN_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => field("updates", &format!("{more} more")),
        }
    }

    fn print_family(&self, field: impl Fn(&str, &str) -> std::io::Result<()>) -> std::io::Result<()> {
        if let Some(parent) = self.start.as_ref().and_then(|start| start.parent.as_ref()) {
            let detached = if parent.detached { ", detached" } else { "" };
            field("parent", &format!("run {}, as {}{detached}", parent.run, parent.step))?;
        }
        if let Some(before) = self.start.as_ref().and_then(|start| start.continues.as_ref()) {
            let text = format!(
                "run {}; {} before it, the first one {}",
                before.from, before.number, before.first
            );
            field("continues", &text)?;
        }
        for child in self.children.iter().take(CHILDREN_SHOWN_MAX) {
            let detached = if child.detached { ", detached" } else { "" };
            let text = format!("{}, run {}{detached}: {}", shortened(&child.key), child.run, child.standing());
            field("child", &text)?;
        }
        match self.children.len().checked_sub(CHILDREN_SHOWN_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => field("children", &format!("{more} more: `everstep runs tree {}`", self.run)),
        }
    }

    fn print_timeline(&self) -> std::io::Result<()> {
        let mut table = output::table(["AT", "ENTRY", "ATTEMPT", "TOOK", "SAYS"]);
        for line in &self.lines {
            table.add_row([
                format!("+{:.3} s", between(self.summary.started, line.time).as_secs_f64()),
                line.what(),
                line.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
                line.took.map(lasted).unwrap_or_default(),
                line.says.clone(),
            ]);
        }
        output::print_table(&table)
    }

    fn hint(&self) {
        match self.summary.status {
            RunStatus::Parked => eprintln!("hint: mend the cause, then `everstep runs resume {}`", self.run),
            RunStatus::Running if !self.questions.is_empty() => {
                eprintln!(
                    "hint: `everstep runs answer {} NAME --value …` answers, `runs approve` and `runs reject` decide",
                    self.run
                );
            }
            RunStatus::Running if self.waits_for_nothing() => {
                eprintln!("hint: nothing is scheduled or queued for it; does an orchestrator of its application run?");
            }
            _ => {}
        }
    }

    /// Whether nothing would move it that can be seen from here: its deadline does not count.
    fn waits_for_nothing(&self) -> bool {
        let is_at_gate = self.inside.as_ref().is_some_and(|inside| !inside.at_gates.is_empty());
        let only_its_end = self.waits.iter().all(|wait| matches!(wait, Wait::Deadline { .. }));
        !is_at_gate && only_its_end && self.summary.waits.is_empty()
    }
}

fn parent_json(parent: &Parent) -> Value {
    json!({ "run": parent.run, "step": parent.step.to_string(), "detached": parent.detached })
}

fn print_question(open: &OpenQuestion) -> std::io::Result<()> {
    let field = |name: &str, value: &str| output::line(format_args!("{name:<9} {value}"));
    let question = &open.question;
    field(
        "asks",
        &format!("{}: {}{}", open.wait, shortened(&question.text), until(question.deadline)),
    )?;
    let choices: Vec<_> = question.choices().iter().map(|choice| choice.id.clone()).collect();
    if !choices.is_empty() && question.approval.is_none() {
        field("  options", &shortened(&choices.join(", ")))?;
    }
    if !question.assignees.is_empty() {
        field("  of", &shortened(&question.assignees.join(", ")))?;
    }
    if let Some(terms) = &question.approval {
        field("  hash", &terms.hash.to_string())?;
        if let Some(payload) = &terms.payload {
            field("  payload", payload)?;
        }
        field("  said yes", &format!("{} of {}", open.votes.len(), terms.quorum))?;
    }
    Ok(())
}

fn until(deadline: Option<Timestamp>) -> String {
    deadline
        .map(|deadline| format!(", until {}", moment(deadline)))
        .unwrap_or_default()
}

/// The run itself has no step that people know.
fn place_text(wait: &GateWait) -> String {
    let place = format!("a place under {}: {}", wait.limit, wait.why);
    match wait.step.is_own() {
        true => place,
        false => format!("step {}, {place}", wait.step),
    }
}

fn wait_text(wait: &Wait) -> String {
    let at = |due: &Option<Timestamp>| due.map_or_else(|| "a time unknown".to_owned(), moment);
    match wait {
        Wait::Sleep { key, due } => format!("sleep {key}, until {}", at(due)),
        Wait::Deadline { due } => format!("its deadline, at {}", at(due)),
        Wait::Child(child) => format!("child {}, run {}, which is {}", child.key, child.run, child.standing()),
        Wait::Retry { step, due } => format!("step {step}, attempted again at {}", at(due)),
        Wait::Task {
            step,
            function,
            attempt,
            stream,
            since,
        } => format!(
            "step {step} (function {function}, attempt {attempt}), in {stream} since {}",
            moment(*since)
        ),
    }
}
