//! The trip as an application: `trip dev`, or `trip orchestrator` and `trip worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::trip::app().main()
}
