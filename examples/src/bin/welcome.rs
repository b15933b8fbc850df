//! The welcome as an application: `welcome dev`, or `welcome orchestrator` and `welcome worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::welcome::app().main()
}
