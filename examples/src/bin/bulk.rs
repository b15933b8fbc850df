//! Bulk work as an application: `bulk dev`, or `bulk orchestrator` and `bulk worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::bulk::app().main()
}
