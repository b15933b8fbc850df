//! The dashboard as an application: `dashboard dev`, or `dashboard orchestrator` and `dashboard worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::dashboard::app().main()
}
