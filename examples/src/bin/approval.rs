//! The approval as an application: `approval dev`, or `approval orchestrator` and `approval worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::approval::app().main()
}
