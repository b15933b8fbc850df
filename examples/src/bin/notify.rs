//! The notification as an application: `notify dev`, or `notify orchestrator` and `notify worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::notify::app().main()
}
