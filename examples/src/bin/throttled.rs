//! The throttled sync as an application: `throttled dev`, or `throttled orchestrator` and `throttled worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::throttled::app().main()
}
