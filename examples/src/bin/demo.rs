//! `make demo`: without arguments it tells the story; with a role it is one of the story's processes.

use std::process::ExitCode;

use everstep_examples::demo;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        demo::end_with_owner();
        return demo::app().main();
    }
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(demo::run())?)
}
