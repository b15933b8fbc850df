//! The onboarding as an application: `onboarding dev`, or `onboarding orchestrator` and `onboarding worker` against a server.

use std::process::ExitCode;

fn main() -> ExitCode {
    everstep_examples::onboarding::app().main()
}
