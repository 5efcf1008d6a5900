//! Writes the figures in Prometheus' text format, version 0.0.4.
//!
//! A registry of a crate would own the numbers and be locked or counted atomically where they
//! change; here machines count in plain numbers, and only the format is left to write.

use std::fmt::{Display, Write};
use std::time::Duration;

use seriatim_engine::histogram::{Durations, Histogram};
use seriatim_engine::ids::ShardId;
use seriatim_engine::levels::{Hits, Level, Limit};

use super::{Board, Gauges, OwnerFigures};

/// One label with its value.
type Label<'a> = (&'a str, &'a dyn Display);

pub(super) fn write(gauges: &Gauges, board: &Board, ready: bool, uptime: Duration) -> String {
    let mut text = Text(String::with_capacity(16 * 1024));
    text.family("seriatim_build_info", "gauge", "The version that runs.");
    text.sample("seriatim_build_info", &[("version", &env!("CARGO_PKG_VERSION"))], &1);
    text.one("seriatim_uptime_seconds", "gauge", "Since the node started.", &uptime.as_secs_f64());
    text.one("seriatim_ready", "gauge", "1 while /readyz answers 200.", &u8::from(ready));
    text.family("seriatim_link_up", "gauge", "1 while the link to the shard's owner is up.");
    for (shard, up) in &board.links_up {
        text.sample("seriatim_link_up", &[("shard", &shard)], &u8::from(*up));
    }
    http(&mut text, gauges);
    if let Some(counts) = &board.gateway {
        gateway(&mut text, counts);
    }
    owners(&mut text, board);
    levels(&mut text, gauges, board);
    limits(&mut text, board);
    text.0
}

fn http(text: &mut Text, gauges: &Gauges) {
    let handshakes = gauges.handshakes_done.get();
    text.one("seriatim_handshakes_total", "counter", "WebSockets that were opened.", &handshakes);
    let name = "seriatim_origins_refused_total";
    let refused = gauges.origins_refused.get();
    text.one(name, "counter", "WebSockets refused to pages of foreign origins.", &refused);
    let requests = gauges.plain_requests.get();
    text.one("seriatim_plain_requests_total", "counter", "Plain HTTP requests.", &requests);
    let connections = gauges.connections.get();
    text.one("seriatim_connections", "gauge", "Sockets of clients.", &connections);
    let requests = gauges.admin_requests.get();
    text.one("seriatim_admin_requests_total", "counter", "Admin requests let in.", &requests);
    let (name, denied) = ("seriatim_admin_denied_total", gauges.admin_denied.get());
    text.one(name, "counter", "Admin requests without the right secret.", &denied);
    let (name, help) = ("seriatim_queued_bytes_total", "Bytes of frames queued for sessions.");
    text.one(name, "counter", help, &gauges.queued_bytes.get());
}

fn gateway(text: &mut Text, counts: &seriatim_engine::gateway::GatewayCounts) {
    text.one("seriatim_sessions", "gauge", "Connected sessions.", &counts.sessions.now);
    let help = "Channels with a session at this gateway.";
    text.one("seriatim_channels", "gauge", help, &counts.channels);
    let help = "Text frames from clients.";
    text.one("seriatim_frames_received_total", "counter", help, &counts.frames);
    let name = "seriatim_deliveries_total";
    text.family(name, "counter", "Entries sent, each to each session: live, or out of the log.");
    text.sample(name, &[("from", &"live")], &counts.delivered_live);
    text.sample(name, &[("from", &"log")], &counts.delivered_from_log);
    let help = "Entries that sessions were told are gone, each to each session.";
    text.one("seriatim_trimmed_deliveries_total", "counter", help, &counts.trimmed);
    let help = "Entries that owners announced to this gateway.";
    text.one("seriatim_entries_published_total", "counter", help, &counts.published);
    let help = "Pages read out of the log for sessions that were behind.";
    text.one("seriatim_catch_up_pages_total", "counter", help, &counts.pages);
    text.family("seriatim_rejections_total", "counter", "Requests turned down, by code.");
    for (code, count) in counts.rejected.iter() {
        text.sample("seriatim_rejections_total", &[("code", &code)], &count);
    }
    text.family("seriatim_goodbyes_total", "counter", "Sessions ended by the server, by code.");
    for (code, count) in counts.goodbyes.iter() {
        text.sample("seriatim_goodbyes_total", &[("code", &code)], &count);
    }
    text.family("seriatim_accept_seconds", "histogram", "From a request to its accepted.");
    text.durations("seriatim_accept_seconds", &[], &counts.accept);
    let name = "seriatim_deliver_seconds";
    let help = "Of each announced entry, from its at_ms to its being written to all sockets that \
                take it. By two wall clocks, in whole milliseconds.";
    text.family(name, "histogram", help);
    text.durations(name, &[], &counts.deliver);
}

/// A gauge or counter of every owner.
type OwnerNumber = (&'static str, &'static str, &'static str, fn(&OwnerFigures) -> u64);

const OWNER_NUMBERS: [OwnerNumber; 14] = [
    ("seriatim_store_open", "gauge", "1 while the shard's store is open.", |owner| {
        u64::from(owner.store_open)
    }),
    (
        "seriatim_store_reopened_total",
        "counter",
        "Times a failed store was opened again.",
        |owner| owner.reopened,
    ),
    (
        "seriatim_store_setbacks_total",
        "counter",
        "Times that the store's work in the background failed and was put off.",
        |owner| owner.upkeep.setbacks,
    ),
    ("seriatim_store_damaged_runs", "gauge", "Runs that can't be merged: damaged.", |owner| {
        owner.upkeep.damaged_runs as u64
    }),
    ("seriatim_owned_channels", "gauge", "Channels of the shard.", |owner| {
        owner.counts.channels as u64
    }),
    ("seriatim_entries_numbered_total", "counter", "Entries that were given a seq.", |owner| {
        owner.counts.numbered
    }),
    ("seriatim_entries_durable_total", "counter", "Entries that the store holds.", |owner| {
        owner.counts.durable
    }),
    ("seriatim_duplicates_total", "counter", "Messages sent again with a known nonce.", |owner| {
        owner.counts.duplicates
    }),
    ("seriatim_log_reads_total", "counter", "Pages read out of the log.", |owner| {
        owner.counts.reads
    }),
    (
        "seriatim_log_reads_failed_total",
        "counter",
        "Reads of the log that the disk failed.",
        |owner| owner.counts.reads_failed,
    ),
    ("seriatim_log_reads_damaged_total", "counter", "Reads of the log that met damage.", |owner| {
        owner.counts.reads_damaged
    }),
    (
        "seriatim_trimmed_entries_total",
        "counter",
        "Entries that went by the limits of the log.",
        |owner| owner.trimmed_entries,
    ),
    (
        "seriatim_trimmed_bytes_total",
        "counter",
        "Bytes of disk that came back with them.",
        |owner| owner.trimmed_bytes,
    ),
    (
        "seriatim_log_age_seconds",
        "gauge",
        "How old the oldest entry of the log may be, by the log's clock.",
        |owner| owner.log_age_s,
    ),
];

fn owners(text: &mut Text, board: &Board) {
    for (name, kind, help, of) in OWNER_NUMBERS {
        text.family(name, kind, help);
        for (shard, owner) in &board.owners {
            text.sample(name, &[("shard", shard)], &of(owner));
        }
    }
    let (name, help) = ("seriatim_store_batch_entries", "Entries of one store commit.");
    text.family(name, "histogram", help);
    for (shard, owner) in &board.owners {
        text.histogram(name, &[("shard", shard)], &owner.batch, |bound| bound as f64);
    }
    let name = "seriatim_durable_seconds";
    let help = "Of each entry, from its request's arrival at the owner to its being durable.";
    histogram_of_owners(text, board, name, help, |owner| &owner.counts.durable_time);
    let (name, help) =
        ("seriatim_store_commit_seconds", "From a batch's hand-over to its being durable.");
    histogram_of_owners(text, board, name, help, |owner| &owner.commit);
    let (name, help) =
        ("seriatim_fsync_seconds", "One sync of a log file, with the write of a commit before it.");
    histogram_of_owners(text, board, name, help, |owner| &owner.fsync);
}

fn histogram_of_owners(
    text: &mut Text,
    board: &Board,
    name: &str,
    help: &str,
    of: fn(&OwnerFigures) -> &Durations,
) {
    text.family(name, "histogram", help);
    for (shard, owner) in &board.owners {
        text.durations(name, &[("shard", shard)], of(owner));
    }
}

/// A gauge of every level.
type LevelNumber = (&'static str, &'static str, fn(&Level) -> usize);

const LEVEL_NUMBERS: [LevelNumber; 3] = [
    ("seriatim_level", "How full what is bounded is.", |level| level.now),
    ("seriatim_level_peak", "How full it has been at most.", |level| level.peak),
    ("seriatim_level_limit", "Its limit.", |level| level.limit),
];

fn levels(text: &mut Text, gauges: &Gauges, board: &Board) {
    let gateway = board.gateway.iter().flat_map(|counts| counts.levels());
    let mut all: Vec<(Option<ShardId>, Level)> =
        gauges.levels().into_iter().chain(gateway).map(|level| (None, level)).collect();
    for (shard, owner) in &board.owners {
        all.extend(owner.levels().map(|level| (Some(*shard), level)));
    }
    for (name, help, number) in LEVEL_NUMBERS {
        text.family(name, "gauge", help);
        for (shard, level) in &all {
            match shard {
                Some(shard) => {
                    let labels: [Label<'_>; 2] = [("what", &level.what), ("shard", shard)];
                    text.sample(name, &labels, &number(level));
                }
                None => text.sample(name, &[("what", &level.what)], &number(level)),
            }
        }
    }
}

/// Who loses a place for being too slow, and the limit that takes it.
const EVICTIONS: [(&str, Limit); 4] = [
    ("live_delivery", Limit::SessionQueueBytes),
    ("stalled_socket", Limit::SessionStallTime),
    ("silent_session", Limit::SessionIdleTime),
    ("slow_link", Limit::LinkQueueBytes),
];

fn limits(text: &mut Text, board: &Board) {
    let machines = board.gateway.iter().map(|counts| counts.hits);
    let owners = board.owners.values().map(|owner| owner.counts.hits);
    let all: Vec<Hits> = std::iter::once(board.hits).chain(machines).chain(owners).collect();
    let hits = |limit| all.iter().map(|hits| hits.of(limit)).sum::<u64>();
    let name = "seriatim_limit_hits_total";
    text.family(name, "counter", "Times a limit was hit, by the name of its constant.");
    for limit in Limit::ALL {
        text.sample(name, &[("limit", &limit.name())], &hits(*limit));
    }
    let name = "seriatim_evictions_total";
    text.family(name, "counter", "Times somebody was too slow for the place they had.");
    for (what, limit) in EVICTIONS {
        text.sample(name, &[("from", &what)], &hits(limit));
    }
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(&format_args!("# HELP {name} {help}"));
        self.line(&format_args!("# TYPE {name} {kind}"));
    }

    /// A family of one sample.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: &dyn Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// Labels are our own names and codes: nothing in them needs escaping.
    fn sample(&mut self, name: &str, labels: &[Label<'_>], value: &dyn Display) {
        let mut shown = String::new();
        for (label, text) in labels {
            let comma = if shown.is_empty() { "" } else { "," };
            write!(shown, "{comma}{label}=\"{text}\"").expect("a String takes all");
        }
        if shown.is_empty() {
            self.line(&format_args!("{name} {value}"));
        } else {
            self.line(&format_args!("{name}{{{shown}}} {value}"));
        }
    }

    fn durations(&mut self, name: &str, labels: &[Label<'_>], durations: &Durations) {
        self.histogram(name, labels, durations, |us| us as f64 / 1e6);
    }

    fn histogram<const BOUNDS: usize>(
        &mut self,
        name: &str,
        labels: &[Label<'_>],
        histogram: &Histogram<BOUNDS>,
        unit: fn(u64) -> f64,
    ) {
        let bucket = format!("{name}_bucket");
        for (bound, upto) in histogram.cumulative() {
            let bound = unit(bound);
            let with_bound: Vec<Label<'_>> =
                labels.iter().copied().chain([("le", &bound as &dyn Display)]).collect();
            self.sample(&bucket, &with_bound, &upto);
        }
        let all: Vec<Label<'_>> =
            labels.iter().copied().chain([("le", &"+Inf" as &dyn Display)]).collect();
        self.sample(&bucket, &all, &histogram.count());
        self.sample(&format!("{name}_sum"), labels, &unit(histogram.sum()));
        self.sample(&format!("{name}_count"), labels, &histogram.count());
    }

    fn line(&mut self, line: &dyn Display) {
        writeln!(self.0, "{line}").expect("a String takes all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let metrics = Metrics::default();
        metrics.link(ShardId(0), true);
        metrics.owner(ShardId(1), |owner| {
            owner.fsync.record_time(Duration::from_millis(2));
            owner.waiting.set(7);
        });
        metrics.hit(Limit::Handshakes);

        let text = metrics.text(Duration::from_millis(1_500));

        for line in [
            "# TYPE seriatim_uptime_seconds gauge",
            "seriatim_uptime_seconds 1.5",
            "seriatim_ready 0",
            "seriatim_link_up{shard=\"0\"} 1",
            "seriatim_store_open{shard=\"1\"} 0",
            "seriatim_fsync_seconds_bucket{shard=\"1\",le=\"0.001\"} 0",
            "seriatim_fsync_seconds_bucket{shard=\"1\",le=\"0.0025\"} 1",
            "seriatim_fsync_seconds_bucket{shard=\"1\",le=\"+Inf\"} 1",
            "seriatim_fsync_seconds_sum{shard=\"1\"} 0.002",
            "seriatim_fsync_seconds_count{shard=\"1\"} 1",
            "seriatim_level{what=\"waiting_entries\",shard=\"1\"} 7",
            "seriatim_level_limit{what=\"waiting_entries\",shard=\"1\"} 2047",
            "seriatim_limit_hits_total{limit=\"HANDSHAKES_MAX\"} 1",
            "seriatim_limit_hits_total{limit=\"SESSIONS_MAX\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(metrics.missing(), ["the store of shard 1 is not open"]);
    }

    #[test]
    fn every_family_is_declared_once_and_before_its_samples() {
        let metrics = Metrics::default();
        metrics.owner(ShardId(0), |owner| owner.store_open = true);
        metrics.gateway(&seriatim_engine::gateway::GatewayCounts::new(1));
        let text = metrics.text(Duration::ZERO);
        let mut family = "";
        let mut declared = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap();
                assert!(!declared.contains(&family), "{family} is declared twice");
                declared.push(family);
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} is not of the family {family}");
            }
        }
        assert!(declared.len() > 20, "{declared:?}");
    }
}
