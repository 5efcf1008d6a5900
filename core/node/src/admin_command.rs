//! The subcommand `admin`: looks into a running server and steers it, over its HTTP routes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::admin_client::{AdminClient, Method};
use crate::cli::{Usage, say};
use crate::table;

#[derive(Debug, Args)]
pub(crate) struct AdminCommand {
    #[command(flatten)]
    at: At,
    /// Print the answer as the server gave it: one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

/// Which server to ask.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// Where the server answers operators: its --http address, else where its clients connect.
    #[arg(
        long,
        value_name = "HOST:PORT",
        global = true,
        env = "SERIATIM_ADMIN_ADDRESS",
        default_value = "127.0.0.1:7400"
    )]
    address: String,
    /// The server's data folder, for its admin.key. [env: SERIATIM_ADMIN_SECRET has the secret
    /// itself]
    #[arg(long, default_value = "data", global = true)]
    data: PathBuf,
}

impl At {
    pub(crate) fn client(&self) -> anyhow::Result<AdminClient> {
        AdminClient::new(&self.address, &self.data)
    }
}

/// Which rows of a table to show.
#[derive(Debug, Args)]
struct Rows {
    /// Begin after this row: what the end of the page before says.
    #[arg(long)]
    after: Option<String>,
    /// At most so many rows.
    #[arg(long)]
    limit: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The workspaces that have a channel.
    Workspaces {
        #[command(flatten)]
        rows: Rows,
    },
    /// The users of a workspace who are in a channel.
    Users {
        workspace: String,
        #[command(flatten)]
        rows: Rows,
    },
    /// The channels of a workspace.
    Channels {
        workspace: String,
        #[command(flatten)]
        rows: Rows,
    },
    /// One channel and its members.
    Channel {
        workspace: String,
        channel: String,
        #[command(flatten)]
        rows: Rows,
    },
    /// The sessions at a gateway.
    Sessions {
        #[arg(long)]
        workspace: Option<String>,
        #[arg(long)]
        user: Option<String>,
        #[command(flatten)]
        rows: Rows,
    },
    /// One session, and how far it is in each channel.
    Session { session: String },
    /// The shards that the node owns, and its links to owners.
    Shards,
    /// Send a gateway's clients elsewhere and take no more: before an upgrade, for one. `/readyz`
    /// answers 503 from then on.
    Drain {
        /// The clients come back to other gateways within so long, each at a time of its own.
        #[arg(long, default_value_t = 5)]
        spread_s: u64,
        /// Wait until the last client is gone, and tell how many are left.
        #[arg(long, conflicts_with = "undo")]
        wait: bool,
        /// Take sessions again.
        #[arg(long)]
        undo: bool,
    },
    /// Mint a token that lets a user connect.
    Token {
        workspace: String,
        user: String,
        /// How long it is good for.
        #[arg(long, default_value_t = 24)]
        hours: u64,
    },
}

impl AdminCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = self.at.client()?;
        let (method, path, body) = self.action.request()?;
        let mut answer = client.ask(method, &path, body.as_ref())?;
        if matches!(self.action, Action::Drain { wait: true, .. }) {
            answer = wait_for_drain(&client, answer)?;
        }
        if self.json {
            say(&answer.to_string());
            return Ok(());
        }
        self.action.show(&answer)
    }
}

impl Action {
    fn request(&self) -> anyhow::Result<(Method, String, Option<Value>)> {
        let path = match self {
            Self::Workspaces { rows } => format!("workspaces{}", rows.query(&[])?),
            Self::Users { workspace, rows } => {
                format!("workspaces/{}/users{}", plain(workspace)?, rows.query(&[])?)
            }
            Self::Channels { workspace, rows } => {
                format!("workspaces/{}/channels{}", plain(workspace)?, rows.query(&[])?)
            }
            Self::Channel { workspace, channel, rows } => {
                let (workspace, channel) = (plain(workspace)?, plain(channel)?);
                format!("workspaces/{workspace}/channels/{channel}{}", rows.query(&[])?)
            }
            Self::Sessions { workspace, user, rows } => {
                let whose = [("workspace", workspace.as_deref()), ("user", user.as_deref())];
                format!("sessions{}", rows.query(&whose)?)
            }
            Self::Session { session } => format!("sessions/{}", plain(session)?),
            Self::Shards => "shards".to_owned(),
            Self::Drain { undo: true, .. } => {
                return Ok((Method::Delete, DRAIN.to_owned(), None));
            }
            Self::Drain { spread_s, .. } => {
                let body = json!({ "spread_ms": spread_s.saturating_mul(1_000) });
                return Ok((Method::Post, DRAIN.to_owned(), Some(body)));
            }
            Self::Token { workspace, user, hours } => {
                let body = json!({ "workspace": workspace, "user": user, "hours": hours });
                return Ok((Method::Post, "tokens".to_owned(), Some(body)));
            }
        };
        Ok((Method::Get, path, None))
    }

    fn show(&self, answer: &Value) -> anyhow::Result<()> {
        match self {
            Self::Workspaces { .. } => {
                rows(answer, &["workspace", "channels", "counted"]);
            }
            Self::Users { .. } => rows(answer, &["user", "presence", "channels", "gateways"]),
            Self::Channels { .. } => {
                rows(answer, &["channel", "kind", "head", "members", "gateways"]);
            }
            Self::Channel { .. } => {
                fields(answer, &["channel", "kind", "creator", "head", "in_flight", "gateways"]);
                rows(answer.get("members").unwrap_or(&Value::Null), &["user", "from", "read"]);
            }
            Self::Sessions { .. } => rows(answer, &SESSION),
            Self::Session { .. } => {
                fields(answer, &SESSION);
                let following = answer.get("following").unwrap_or(&Value::Null);
                say(&table::render(following, &["channel", "sent_upto", "head", "behind"]));
            }
            Self::Shards => shards(answer),
            Self::Drain { .. } => fields(answer, &DRAIN_FIELDS),
            Self::Token { .. } => match answer.get("token").and_then(Value::as_str) {
                Some(token) => say(token),
                None => bail!("the server's answer has no token: {answer}"),
            },
        }
        Ok(())
    }
}

const DRAIN: &str = "drain";

const DRAIN_FIELDS: [&str; 5] =
    ["draining", "sessions", "connections", "requests", "waiting_entries"];

/// How often to ask how far a drain has come.
const DRAIN_LOOK: Duration = Duration::from_millis(500);

/// Asks until no client is left, and tells how many are.
fn wait_for_drain(client: &AdminClient, mut answer: Value) -> anyhow::Result<Value> {
    loop {
        let left = answer.get("connections").and_then(Value::as_u64);
        match left {
            Some(0) => return Ok(answer),
            Some(left) => eprintln!("{left} clients are left"),
            None => bail!("the server does not say how many clients are left: {answer}"),
        }
        client.pause(DRAIN_LOOK)?;
        answer = client.ask(Method::Get, DRAIN, None)?;
        if answer.get("draining") == Some(&Value::Bool(false)) {
            bail!("the server takes sessions again: somebody undid the drain");
        }
    }
}

const SESSION: [&str; 10] = [
    "session",
    "connection",
    "workspace",
    "user",
    "phase",
    "channels",
    "waiting",
    "requests",
    "queue_bytes",
    "silent_ms",
];

fn shards(answer: &Value) {
    let columns = ["shard", "store_open", "epoch", "reopened", "channels", "numbered", "durable"];
    let shards = answer.get("rows").unwrap_or(&Value::Null);
    say(&table::render(shards, &columns));
    for shard in shards.as_array().into_iter().flatten() {
        let number = shard.get("shard").unwrap_or(&Value::Null);
        say(&format!("\nshard {number}: how full its queues are"));
        let levels = shard.get("levels").unwrap_or(&Value::Null);
        say(&table::render(levels, &["what", "now", "peak", "limit"]));
    }
    let links = answer.get("links").unwrap_or(&Value::Null);
    if links.as_array().is_some_and(|links| !links.is_empty()) {
        say("\nlinks to owners");
        say(&table::render(links, &["shard", "up"]));
    }
}

/// Prints a page, and how to go on.
fn rows(page: &Value, columns: &[&str]) {
    say(&table::render(page.get("rows").unwrap_or(&Value::Null), columns));
    let next = page.get("next").unwrap_or(&Value::Null);
    if !next.is_null() {
        say(&format!("There is more: add --after {}", table::cell(next)));
    }
}

/// Prints one object, a line each.
fn fields(object: &Value, names: &[&str]) {
    for name in names {
        let value = object.get(name).unwrap_or(&Value::Null);
        say(&format!("{name:<12} {}", table::cell(value)));
    }
}

impl Rows {
    fn query(&self, more: &[(&str, Option<&str>)]) -> Result<String, Usage> {
        let limit = self.limit.map(|limit| limit.to_string());
        let own = [("after", self.after.as_deref()), ("limit", limit.as_deref())];
        let mut query = String::new();
        for (name, value) in own.iter().chain(more) {
            let Some(value) = value else { continue };
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(&format!("{name}={}", plain(value)?));
        }
        Ok(query)
    }
}

/// A part of an address that can't be taken for anything else.
pub(crate) fn plain(text: &str) -> Result<&str, Usage> {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && text.chars().all(sound) {
        return Ok(text);
    }
    Err(Usage(format!("{text:?} is no name: those have a-z, A-Z, 0-9, '-', '_' and '.' only")))
}
