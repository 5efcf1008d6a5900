//! Processes that a bench starts and tells, line by line, what to do.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};
use rustix::process::Pid;
use rustix::thread::CpuSet;

/// The first argument of a process that is a child of a bench.
pub const MARK: &str = "bench-child";

/// A child process. Dropping it kills it.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts `command` with its input and output piped.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("no process")?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("its output is piped")?);
        Ok(Self { child, input, output })
    }

    /// Starts this program again in the given role.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start_role(role: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([MARK, role]);
        Self::start(command)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Keeps the process on one CPU, where there are several.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn pin(&self, cpu: usize) -> anyhow::Result<()> {
        let ours = rustix::thread::sched_getaffinity(None)?;
        if ours.is_set(cpu) {
            let mut only = CpuSet::new();
            only.set(cpu);
            let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
            rustix::thread::sched_setaffinity(pid, &only)?;
        }
        Ok(())
    }

    /// The next line that the process prints.
    ///
    /// # Errors
    /// It ended.
    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let count = self.output.read_line(&mut line)?;
        ensure!(count > 0, "a process of the bench ended early; what it said is above");
        Ok(line.trim_end().to_owned())
    }

    /// Says a line, without waiting for an answer.
    ///
    /// # Errors
    /// The process ended.
    pub fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("its input is piped")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// Says a line and waits for the answer, a line.
    ///
    /// # Errors
    /// The process ended.
    pub fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        self.tell(line)?;
        self.line()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Prints a line to whoever started this process.
pub(crate) fn say(line: &str) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// The numbers of a line such as `done 100 0`, behind its first word.
///
/// # Errors
/// A word is not a number.
pub fn numbers(line: &str) -> anyhow::Result<Vec<u64>> {
    line.split_whitespace()
        .skip(1)
        .map(|word| word.parse().with_context(|| format!("a process of the bench said {line:?}")))
        .collect()
}
