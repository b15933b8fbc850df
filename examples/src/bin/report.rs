//! The report as an application: `report dev`, or `report orchestrator` and `report worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::report::app().main()
}
