//! Printing reports: a JSON object a line, or a table; and a bar while one waits.

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::report::{PerRole, Report};

/// Where figures go: stdout; whatever else is said goes to stderr.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON lines or tables.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints one report.
    pub fn print(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(report)?);
        } else {
            println!("{}", table(report));
        }
        Ok(())
    }

    /// Prints one round of several: a line of its own as JSON, a few words beside the table.
    pub fn print_round(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            return self.print(report);
        }
        eprintln!(
            "{:10} {:>8.0} steps/s, p50 {} ms",
            report.scenario, report.steps_per_s, report.latency.p50_ms
        );
        Ok(())
    }

    /// A bar over `total` of something, drawn on a terminal only, and never beside JSON.
    pub fn bar(&self, what: &'static str, total: u64) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg:12} {bar:40} {pos}/{len} {per_sec} eta {eta}").expect("the template is one");
        ProgressBar::new(total).with_style(style).with_message(what)
    }
}

/// Two columns: what, and how much.
fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([report.scenario.as_str(), report.durability.as_str()]);
    let size = format!("{} × {} steps, {} at once", report.runs, report.steps, report.concurrency);
    let rates = format!("{:.0} runs/s, {:.0} steps/s", report.runs_per_s, report.steps_per_s);
    let latency = format!(
        "p50 {} · p90 {} · p99 {} · max {} ms",
        report.latency.p50_ms, report.latency.p90_ms, report.latency.p99_ms, report.latency.max_ms
    );
    table.add_row(["runs", &size]);
    table.add_row(["took", &format!("{} s", report.wall_s)]);
    table.add_row(["rate", &rates]);
    table.add_row(["latency", &latency]);
    table.add_row(["failed", &report.failed.to_string()]);
    table.add_row(["cpu", &per_role(&report.cpu_s, "s")]);
    table.add_row(["memory", &per_role(&report.rss_mb, "MiB")]);
    let machine = [
        report.fdatasync_p50_us.map(|micros| format!("fdatasync p50 {micros} us")),
        report.load_1m.map(|load| format!("load average {load}")),
    ];
    let machine: Vec<String> = machine.into_iter().flatten().collect();
    table.add_row(["machine", &machine.join(" · ")]);
    for (name, value) in &report.more {
        table.add_row([name.as_str(), &plain(value)]);
    }
    table
}

fn per_role(figures: &PerRole, unit: &str) -> String {
    let roles = [
        ("server", figures.server),
        ("orchestrator", figures.orchestrator),
        ("worker", figures.worker),
        ("client", figures.client),
    ];
    let known = roles
        .into_iter()
        .filter_map(|(role, figure)| Some(format!("{role} {}", figure?)));
    let known: Vec<String> = known.collect();
    if known.is_empty() {
        return "unknown".to_owned();
    }
    format!("{} {unit}", known.join(" · "))
}

/// Text without its quotes, the rest as JSON has it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_processes_are_left_out() {
        let figures = PerRole {
            server: Some(1.5),
            worker: Some(0.25),
            ..PerRole::default()
        };
        assert_eq!(per_role(&figures, "s"), "server 1.5 · worker 0.25 s");
        assert_eq!(per_role(&PerRole::default(), "s"), "unknown");
    }
}
