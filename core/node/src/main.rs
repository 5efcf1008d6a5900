//! The server's command line.

mod admin_client;
mod admin_command;
mod admin_secret;
mod backup_command;
mod check;
mod cli;
mod exposure;
mod gateway_flags;
mod key_command;
mod log;
mod operator_flags;
mod renewal;
mod retention_flags;
mod secret;
mod table;
mod trace_command;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    crash_on_panic();
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seriatim-server: {error:#}");
            ExitCode::from(match () {
                () if error.is::<cli::Usage>() => USAGE,
                () if error.is::<check::Damaged>() => DAMAGED,
                () => FAILURE,
            })
        }
    }
}

/// A panic in one task would leave a server that answers but no longer does its work. Whoever
/// supervises it restarts a dead one.
fn crash_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(FAILURE.into());
    }));
}

/// A promise is broken: what is stored is not what was written.
const DAMAGED: u8 = 1;

/// Bad usage or a bad file (sysexits' EX_USAGE).
const USAGE: u8 = 64;

/// Our own failure (sysexits' EX_SOFTWARE).
const FAILURE: u8 = 70;
