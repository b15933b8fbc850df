//! The visits as an application: `stateful dev`, or `stateful orchestrator` and `stateful worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::stateful::app().main()
}
