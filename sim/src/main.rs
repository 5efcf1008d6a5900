//! The simulator's command line.

mod command;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = match command::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { command::USAGE } else { 0 });
        }
    };
    match command::run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("seriatim-sim: {error:#}");
            let usage = error.is::<command::Usage>();
            ExitCode::from(if usage { command::USAGE } else { command::FAILURE })
        }
    }
}
