//! The account opening as an application: `account dev`, or `account orchestrator` and `account worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::account::app().main()
}
