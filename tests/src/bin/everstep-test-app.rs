//! The application that process tests kill.

fn main() -> std::process::ExitCode {
    everstep_tests::processes::application().main()
}
