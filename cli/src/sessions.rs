//! `everstep sessions …`: looking at what the runs of a session share.

use std::process::ExitCode;

use serde_json::json;

use crate::arguments::{Global, WhichSession};
use crate::connection::open;
use crate::output::{self, moment, shortened};
use crate::problem::Problem;

/// Shows the values of one session.
pub(crate) async fn show(global: &Global, arguments: WhichSession) -> Result<ExitCode, Problem> {
    let connection = open(global).await?;
    let entries = connection.client.session(&arguments.session).await?;
    if global.json {
        output::json_pretty(&json!({ "session": arguments.session, "values": entries }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if entries.is_empty() {
        eprintln!("session {:?} holds nothing", arguments.session);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["KEY", "VALUE", "WRITTEN"]);
    for entry in entries {
        table.add_row([
            entry.key,
            shortened(&entry.value.to_string()),
            entry.written.map(moment).unwrap_or_default(),
        ]);
    }
    output::print_table(&table)?;
    Ok(ExitCode::SUCCESS)
}
