//! `everstep limits …`: what is limited, who holds a place, and how much there is.

use std::process::ExitCode;

use everstep::{Limit, LimitEntry};
use serde_json::{Value, json};

use crate::arguments::{Global, SetLimit, WhichLimit};
use crate::connection::open;
use crate::output;
use crate::problem::{Exit, Problem};

/// Lists limits.
pub(crate) async fn list(global: &Global) -> Result<ExitCode, Problem> {
    let connection = open(global).await?;
    let limits = connection.client.limits().await?;
    if global.json {
        output::json_pretty(&limits.iter().map(as_json).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    if limits.is_empty() {
        eprintln!("no limit is set, and none that the code declares was in use yet");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["LIMIT", "CODE", "SET", "HELD", "WAITING"]);
    for limit in &limits {
        let set = limit
            .set
            .map_or_else(|| "as the code says".to_owned(), |limit| limit.to_string());
        let code = limit.usage.code.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
        table.add_row([
            limit.name.to_string(),
            code,
            set,
            limit.usage.slots.len().to_string(),
            waiting(limit),
        ]);
    }
    output::print_table(&table)?;
    Ok(ExitCode::SUCCESS)
}

/// A partition says no more of its steps than matters to the others, so this is the least that it may be.
fn waiting(limit: &LimitEntry) -> String {
    let counts = limit.usage.waiting.values().map(|demand| demand.count);
    match counts.sum::<u32>() {
        0 => "0".to_owned(),
        count => format!("{count} or more"),
    }
}

fn as_json(limit: &LimitEntry) -> Value {
    json!({
        "limit": limit.name.to_string(),
        "code": limit.usage.code,
        "set": limit.set,
        "held": limit.usage.slots,
        "keys_remembered": limit.usage.paces.len(),
        "waiting": limit.usage.waiting.iter().map(|(partition, demand)| json!({ "partition": partition, "demand": demand })).collect::<Vec<_>>(),
    })
}

/// Sets one.
pub(crate) async fn set(global: &Global, arguments: SetLimit) -> Result<ExitCode, Problem> {
    let limit = Limit {
        concurrency: arguments.concurrency,
        per_key: arguments.per_key,
        rate: arguments.rate,
        per_key_rate: arguments.per_key_rate,
    };
    if limit.is_none() && !arguments.none {
        return Err(Problem::new(Exit::Usage, "nothing is limited")
            .hint("give --concurrency, --per-key, --rate or --per-key-rate, or --none for no limit"));
    }
    change(global, &arguments.which, Some(limit), arguments.dry_run).await
}

/// Has the code decide again.
pub(crate) async fn remove(global: &Global, arguments: WhichLimit, dry_run: bool) -> Result<ExitCode, Problem> {
    change(global, &arguments, None, dry_run).await
}

async fn change(global: &Global, which: &WhichLimit, limit: Option<Limit>, dry_run: bool) -> Result<ExitCode, Problem> {
    let connection = open(global).await?;
    if !dry_run {
        connection.client.set_limit(&which.limit, limit).await?;
    }
    let text = limit.map_or_else(|| "as the code says".to_owned(), |limit| limit.to_string());
    if global.json {
        output::json(&json!({ "limit": which.limit.to_string(), "set": limit, "dry_run": dry_run }))?;
    } else {
        let would = if dry_run { "would be " } else { "" };
        eprintln!("{} {would}{text}", which.limit);
    }
    Ok(ExitCode::SUCCESS)
}
