//! Server processes: started on free ports, killed, started again on the same.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_seriatim-server");

/// A running `seriatim-server`. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    arguments: Vec<String>,
    /// Kept open: what the server prints must have somewhere to go.
    _output: BufReader<ChildStdout>,
    /// Where its log goes; a test that fails shows its end.
    log: PathBuf,
}

impl Server {
    /// Everything in one process, with its data in `data`.
    pub(crate) fn serve(data: &Path) -> Self {
        let data = data.to_str().expect("a temporary path is UTF-8");
        let arguments = ["serve", "--data", data, "--listen"].map(str::to_owned).into();
        Self::start(arguments, "clients", &Path::new(data).with_extension("serve.log"))
    }

    /// The same, with more flags.
    pub(crate) fn serve_with(data: &Path, flags: &[&str]) -> Self {
        let path = data.to_str().expect("a temporary path is UTF-8");
        let own = ["serve", "--data", path].into_iter();
        let arguments = own.chain(flags.iter().copied()).chain(["--listen"]);
        let arguments = arguments.map(str::to_owned).collect();
        Self::start(arguments, "clients", &data.with_extension("serve.log"))
    }

    /// A node of several, with its data in `data`. `listen` is the role's flag, `whom` what the
    /// node calls those who connect there.
    pub(crate) fn node(data: &Path, flags: &[&str], listen: &str, whom: &str) -> Self {
        let name = data.file_name().and_then(|name| name.to_str()).expect("a plain folder name");
        let path = data.to_str().expect("a temporary path is UTF-8");
        let mut arguments: Vec<String> =
            ["node", "--name", name, "--data", path].map(str::to_owned).into();
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        arguments.push(listen.to_owned());
        Self::start(arguments, whom, &data.with_extension("node.log"))
    }

    /// An owner and a gateway in processes of their own, joined by a link. Tokens are made with the
    /// gateway's data, the folder that is given.
    pub(crate) fn owner_and_gateway(directory: &Path) -> (Self, Self, PathBuf) {
        let (owner_data, gateway_data) = (directory.join("o1"), directory.join("g1"));
        let owner = Self::node(&owner_data, &["--shard", "0"], "--messages", "gateways");
        std::fs::create_dir(&gateway_data).expect("a writable folder");
        std::fs::copy(owner_data.join("token.key"), gateway_data.join("token.key"))
            .expect("the owner has made its key");
        let to_owner = format!("0={}", owner.address);
        let gateway = Self::node(&gateway_data, &["--owner", &to_owner], "--gateway", "clients");
        (owner, gateway, gateway_data)
    }

    fn start(arguments: Vec<String>, whom: &str, log: &Path) -> Self {
        let mut child = spawn(&arguments, "127.0.0.1:0", log);
        let output = child.stdout.take().expect("it is piped");
        let mut output = BufReader::new(output);
        let address = output.by_ref().lines().find_map(|line| {
            let line = line.expect("the server prints UTF-8");
            let mut words = line.split_whitespace();
            (words.next() == Some(whom)).then(|| words.next().unwrap_or_default().to_owned())
        });
        let address = address.unwrap_or_else(|| {
            panic!(
                "the server did not start:\n{}",
                std::fs::read_to_string(log).unwrap_or_default()
            )
        });
        let address = address.trim_start_matches("ws://").trim_start_matches("wss://");
        let address = address.trim_end_matches("/v1/ws").to_owned();
        Self { child, address, arguments, _output: output, log: log.to_owned() }
    }

    /// SIGKILL: no destructor runs, no buffer is flushed.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server runs until it is killed");
        let status = self.child.wait().expect("it is our child");
        assert_eq!(status.code(), None, "the server ended by itself");
        self.assert_sound();
    }

    /// All that the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// No task of the server panicked, and no promise was broken.
    pub(crate) fn assert_sound(&self) {
        let log = self.log();
        for mark in ["panicked at", "ERROR"] {
            assert!(!log.contains(mark), "the server's log has {mark:?}");
        }
    }

    /// Starts the killed server again, on the same port. Returns at once.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.arguments, &self.address, &self.log);
    }

    /// Runs the program to its end; gives its exit code and what it complained of.
    pub(crate) fn fail(arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(PROGRAM).args(arguments).output().expect("the program is built");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// A token for `user` of workspace `demo`, by the server's own program.
    pub(crate) fn token(data: &Path, user: &str) -> String {
        let data = data.to_str().expect("a temporary path is UTF-8");
        Self::print(&["token", "--data", data, "--user", user]).trim().to_owned()
    }

    /// Runs the program to its end, which must be good; gives what it printed.
    pub(crate) fn print(arguments: &[&str]) -> String {
        let output = Command::new(PROGRAM).args(arguments).output().expect("the program is built");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    }

    /// The end of the server's log.
    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("the end of the log of {:?}:\n{}", self.arguments, self.log_end());
        }
    }
}

fn spawn(arguments: &[String], listen: &str, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("a writable folder");
    Command::new(PROGRAM)
        .args(arguments)
        .arg(listen)
        .env("NO_COLOR", "1")
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the program is built")
}
