//! The table as an application: `table dev`, or `table orchestrator` and `table worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::table::app().main()
}
