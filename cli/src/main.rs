//! The `everstep` command; all of it is in the library beside.

fn main() -> std::process::ExitCode {
    everstep_cli::main()
}
