//! The application whose telemetry is tested.

fn main() -> std::process::ExitCode {
    everstep_tests::telemetry::application().main()
}
