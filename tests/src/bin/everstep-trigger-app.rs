//! The application that tests about events and schedules kill.

fn main() -> std::process::ExitCode {
    everstep_tests::processes::triggered_application().main()
}
