//! The follow-up as an application: `follow_up dev`, or `follow_up orchestrator` and `follow_up worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::follow_up::app().main()
}
