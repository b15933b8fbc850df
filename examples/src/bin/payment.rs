//! The payments as an application: `payment dev`, or `payment orchestrator` and `payment worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::payment::app().main()
}
