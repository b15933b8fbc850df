//! The courier's day as an application: `fleet dev`, or `fleet orchestrator` and `fleet worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::fleet::app().main()
}
