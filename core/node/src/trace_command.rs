//! The subcommand `trace`: what became of one entry.

use clap::Args;
use serde_json::Value;

use crate::admin_client::Method;
use crate::admin_command::{At, plain};
use crate::cli::say;
use crate::table;

#[derive(Debug, Args)]
pub(crate) struct TraceCommand {
    #[command(flatten)]
    at: At,
    channel: String,
    /// The entry's position in the channel.
    seq: u64,
    #[arg(long, default_value = "demo")]
    workspace: String,
    /// Begin the list of sessions after this one: what the end of the page before says.
    #[arg(long)]
    after: Option<usize>,
    /// Print the answer as the server gave it: one JSON object.
    #[arg(long)]
    json: bool,
}

impl TraceCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let (workspace, channel) = (plain(&self.workspace)?, plain(&self.channel)?);
        let after = self.after.map(|after| format!("?after={after}")).unwrap_or_default();
        let seq = self.seq;
        let path = format!("workspaces/{workspace}/channels/{channel}/entries/{seq}{after}");
        let answer = self.at.client()?.ask(Method::Get, &path, None)?;
        if self.json {
            say(&answer.to_string());
            return Ok(());
        }
        say(&format!(
            "entry {seq} of {workspace}/{channel}, by the server's clock in ms since 1970\n"
        ));
        entry(&answer);
        owner(&answer);
        gateway(&answer);
        Ok(())
    }
}

fn entry(answer: &Value) {
    let text =
        |name: &str| table::cell(answer.pointer(&format!("/entry/{name}")).unwrap_or(&Value::Null));
    if answer.get("entry").is_none_or(Value::is_null) {
        say("log       no such entry at this node");
        return;
    }
    say(&format!("log       {}  {} of {}", text("at_ms"), text("asked"), text("by")));
}

fn owner(answer: &Value) {
    let text =
        |name: &str| table::cell(answer.pointer(&format!("/owner/{name}")).unwrap_or(&Value::Null));
    if answer.get("owner").is_none_or(Value::is_null) {
        say("owner     nothing: the channel has no entry, or another node owns its shard");
    } else if answer.pointer("/owner/times").is_none_or(Value::is_null) {
        let head = text("head");
        say(&format!(
            "owner     its times are forgotten, or it is not durable; the head is {head}"
        ));
    } else {
        let (at, durable) = (text("times/numbered_at_ms"), text("times/durable_after_us"));
        let links = text("times/links");
        say(&format!("owner     {at}  received and numbered; durable {durable} us later"));
        say(&format!("          announced to the gateways on links {links}"));
    }
}

fn gateway(answer: &Value) {
    let Some(gateway) = answer.get("gateway").filter(|gateway| !gateway.is_null()) else {
        say("gateway   not this node: ask each gateway");
        return;
    };
    let part = |name: &str| gateway.get(name).unwrap_or(&Value::Null);
    for request in part("requests").as_array().into_iter().flatten() {
        let text = |name: &str| table::cell(request.get(name).unwrap_or(&Value::Null));
        let (at, session, took) = (text("asked_at_ms"), text("session"), text("answered_after_us"));
        say(&format!("gateway   {at}  asked for by session {session}; answered {took} us later"));
    }
    let arrived = part("arrived_at_ms");
    if arrived.is_null() {
        say(
            "gateway   when it was announced here is forgotten, or nobody here followed the channel",
        );
    } else {
        let written = table::cell(part("written_after_us"));
        let arrived = table::cell(arrived);
        say(&format!("gateway   {arrived}  announced; written to its sessions {written} us later"));
    }
    let columns = ["session", "connection", "user", "how", "at_ms"];
    let sessions = part("sessions");
    say("\nsessions that follow the channel");
    say(&table::render(sessions.get("rows").unwrap_or(&Value::Null), &columns));
    let next = sessions.get("next").unwrap_or(&Value::Null);
    if !next.is_null() {
        say(&format!("There is more: add --after {}", table::cell(next)));
    }
    if part("ended").as_array().is_some_and(|ended| !ended.is_empty()) {
        say("\nsessions that were sent it and have ended");
        say(&table::render(part("ended"), &columns));
    }
}
