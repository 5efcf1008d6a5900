//! `log-reads`: who reads the log by a position or a time gets what was asked for, and all of it.
//!
//! - A page is one piece of the log, without a gap. It begins or ends where the request says: after a
//!   position, before one, or with the first entry that was numbered at a time or later; and it says
//!   whether there is more. What anybody had heard of when it was asked for is not left out.
//! - A client that forgot its position and resumes by a time is served from the first entry that is
//!   as late: none of those is left out, and none that was there before is served again.
//!
//! Which entries are as late, only the whole log tells: until then what was read by a time waits, a
//! few words each.

use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::Entry;
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::SeqNo;
use seriatim_engine::time::WallTime;

use crate::history::{ClientIndex, Event, OfLog, What};

use super::{ChannelNumber, Findings, Guarantee, Positions, Seen, slot};

/// Judges `log-reads`.
#[derive(Debug)]
pub struct LogReads {
    channels: Vec<Channel>,
    /// By client: the page whose entries are being told.
    telling: Vec<Told>,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Channel {
    entries: Positions<Known>,
    /// The newest position that anybody has heard of.
    head: SeqNo,
    /// Pages without an answer, the oldest first: who wants them, and the head at that time.
    asked: Vec<(ClientIndex, HistoryBound, SeqNo)>,
    /// Clients that forgot where they were and have no session since.
    forgot: Vec<(ClientIndex, Arc<Event>)>,
    by_time: Vec<ByTime>,
    /// Pages that say that there is more than anybody had heard of.
    more: Vec<(SeqNo, Arc<Event>)>,
}

/// What is known of an entry.
#[derive(Debug, Clone, Copy)]
struct Known {
    numbered_at: WallTime,
    first_seen_at: Duration,
}

/// The entries of a page, as far as they have been told.
#[derive(Debug, Default)]
struct Told {
    first: Option<(SeqNo, WallTime)>,
    last: SeqNo,
    /// An entry that does not follow the one before it.
    stray: Option<SeqNo>,
}

/// Something that goes on from the first entry as late as a time.
#[derive(Debug)]
struct ByTime {
    client: ClientIndex,
    since: WallTime,
    /// No entry up to here may be as late.
    upto: SeqNo,
    /// The next one is to be as late, unless nobody had seen it at this time.
    next_unless_after: Option<Duration>,
    event: Arc<Event>,
}

impl LogReads {
    pub const NAME: &'static str = "log-reads";

    fn entry(&mut self, number: ChannelNumber, entry: &Entry, seen: &Seen<'_>) {
        let channel = slot(&mut self.channels, number.0);
        channel.head = channel.head.max(entry.seq);
        if channel.entries.at(entry.seq).is_none() {
            let known = Known { numbered_at: entry.at, first_seen_at: seen.event.at };
            channel.entries.insert(entry.seq, known);
        }
    }

    fn told(&mut self, client: ClientIndex, entry: &Entry) {
        let told = slot(&mut self.telling, client.0);
        if told.first.is_some() && entry.seq != told.last.next() {
            told.stray.get_or_insert(entry.seq);
        }
        told.first.get_or_insert((entry.seq, entry.at));
        told.last = entry.seq;
    }

    fn page(
        &mut self,
        number: ChannelNumber,
        client: ClientIndex,
        bound: HistoryBound,
        more: bool,
        seen: &Seen<'_>,
    ) {
        let told = std::mem::take(slot(&mut self.telling, client.0));
        let channel = slot(&mut self.channels, number.0);
        let Some(head) = channel.answered(client, bound) else { return };
        if let Some(wrong) = told.wrong(bound, more, head) {
            self.findings.report(seen.event.at, || wrong, [seen.event]);
            return;
        }
        if more && told.last >= channel.head && !matches!(bound, HistoryBound::Before(_)) {
            channel.more.push((told.last, seen.keep()));
        }
        if let HistoryBound::Since(since) = bound {
            let upto = told.first.map_or(head, |(first, _)| first.before());
            let event = seen.keep();
            channel.by_time.push(ByTime { client, since, upto, next_unless_after: None, event });
        }
    }

    /// A session opened that serves these channels after these positions.
    fn opened(&mut self, client: ClientIndex, served: &[(ChannelNumber, SeqNo)], seen: &Seen<'_>) {
        for (number, channel) in (0..).map(ChannelNumber).zip(&mut self.channels) {
            let Some(at) = channel.forgot.iter().position(|(one, _)| *one == client) else {
                continue;
            };
            let (_, forgot) = channel.forgot.remove(at);
            let after = served.iter().find(|(served, _)| *served == number);
            if let (What::Forgot { since, .. }, Some((_, after))) = (&forgot.what, after) {
                channel.by_time.push(ByTime {
                    client,
                    since: *since,
                    upto: *after,
                    next_unless_after: Some(forgot.at),
                    event: seen.keep(),
                });
            }
        }
    }

    /// Whoever is out is served nothing behind the end.
    fn left(&mut self, number: ChannelNumber, client: ClientIndex, until: SeqNo) {
        let by_time = &mut slot(&mut self.channels, number.0).by_time;
        if let Some(resumed) = by_time.iter_mut().rev().find(|one| one.client == client)
            && resumed.upto == until
        {
            resumed.next_unless_after = None;
        }
    }
}

impl Default for LogReads {
    fn default() -> Self {
        let findings = Findings::new(Self::NAME);
        Self { channels: Vec::new(), telling: Vec::new(), findings }
    }
}

impl Channel {
    /// The head when the page was asked for that is answered now. Of several that were asked for in
    /// the same words, nobody knows which it is: the oldest may be, as long as one of them is open.
    fn answered(&mut self, client: ClientIndex, bound: HistoryBound) -> Option<SeqNo> {
        let is_it = |asked: &(ClientIndex, HistoryBound, SeqNo)| {
            let (one, other, _) = asked;
            *one == client && *other == bound
        };
        let (_, _, head) = *self.asked.iter().find(|asked| is_it(asked))?;
        let newest = self.asked.iter().rposition(is_it)?;
        self.asked.remove(newest);
        Some(head)
    }

    /// The latest time up to each position, from 1 on.
    fn latest(&self) -> Vec<WallTime> {
        let mut latest = Vec::new();
        let mut until_now = WallTime(0);
        let mut seq = SeqNo::ZERO.next();
        while let Some(known) = self.entries.at(seq) {
            until_now = until_now.max(known.numbered_at);
            latest.push(until_now);
            seq = seq.next();
        }
        latest
    }
}

impl Told {
    /// What the page itself shows to be wrong; `head` was known when it was asked for.
    fn wrong(&self, bound: HistoryBound, more: bool, head: SeqNo) -> Option<String> {
        if let Some(stray) = self.stray {
            return Some(format!("#{stray} is on a page and the entry before it is not"));
        }
        let Some((first, first_at)) = self.first else {
            let owed = match bound {
                HistoryBound::After(after) => head > after,
                HistoryBound::Before(before) => before.before().min(head) > SeqNo::ZERO,
                HistoryBound::Since(_) => false,
            };
            return (owed || more).then(|| format!("a page is empty, and there is #{head}"));
        };
        match bound {
            HistoryBound::After(after) if first != after.next() => {
                Some(format!("a page after #{after} begins with #{first}"))
            }
            HistoryBound::Before(before)
                if self.last >= before || self.last < before.before().min(head) =>
            {
                let last = self.last;
                Some(format!("a page before #{before} ends with #{last}, and there is #{head}"))
            }
            HistoryBound::Before(_) if more != (first > SeqNo::ZERO.next()) => {
                Some(format!("a page begins with #{first} and says that more before it is {more}"))
            }
            HistoryBound::Since(since) if first_at < since => {
                Some(format!("a page since {since} begins with #{first}, numbered at {first_at}"))
            }
            HistoryBound::After(_) | HistoryBound::Since(_) if !more && self.last < head => {
                let last = self.last;
                Some(format!("a page ends with #{last}, the last, and there is #{head}"))
            }
            HistoryBound::After(_) | HistoryBound::Before(_) | HistoryBound::Since(_) => None,
        }
    }
}

impl ByTime {
    fn wrong(&self, channel: &Channel, latest: &[WallTime]) -> Option<String> {
        let (client, since, upto) = (self.client, self.since, self.upto);
        let earlier = latest.partition_point(|until_now| *until_now < since);
        let first = SeqNo(u64::try_from(earlier).unwrap_or(u64::MAX)).next();
        if first <= upto && earlier < latest.len() {
            return Some(format!(
                "{client} reads since {since} and is given what follows #{upto}: #{first} is as late"
            ));
        }
        let asked_at = self.next_unless_after?;
        let next = channel.entries.at(upto.next())?;
        let is_again = next.numbered_at < since && next.first_seen_at < asked_at;
        is_again.then(|| {
            let (next, at) = (upto.next(), next.numbered_at);
            format!("{client} resumes since {since} and is served #{next}, numbered at {at}")
        })
    }
}

impl Guarantee for LogReads {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let what = &seen.event.what;
        if let What::SessionOpened { client, channels, .. } = what {
            let after = channels.iter().map(|(_, after)| *after);
            let served: Vec<_> = seen.session_channels.iter().copied().zip(after).collect();
            self.opened(*client, &served, seen);
        }
        let Some(number) = seen.channel else { return };
        match what.of_log() {
            Some(OfLog::Entry(entry)) if seen.first.is_none() => self.entry(number, entry, seen),
            Some(OfLog::Accepted { seq, .. }) => {
                let channel = slot(&mut self.channels, number.0);
                channel.head = channel.head.max(seq);
            }
            Some(OfLog::Entry(_) | OfLog::Asked { .. }) | None => {}
        }
        if let What::PageRead { client, entry, .. } = what {
            self.told(*client, entry);
        } else if let What::PageAsked { client, bound, .. } = what {
            let channel = slot(&mut self.channels, number.0);
            channel.asked.push((*client, *bound, channel.head));
        } else if let What::PageEnded { client, bound, more, .. } = what {
            self.page(number, *client, *bound, *more, seen);
        } else if let What::PageRefused { client, bound, .. } = what {
            slot(&mut self.channels, number.0).answered(*client, *bound);
        } else if let What::Forgot { client, .. } = what {
            let forgot = &mut slot(&mut self.channels, number.0).forgot;
            forgot.retain(|(one, _)| one != client);
            forgot.push((*client, seen.keep()));
        } else if let What::SessionLeft { client, until, .. } = what {
            self.left(number, *client, *until);
        }
    }

    fn conclude(&mut self) {
        for channel in &self.channels {
            for (last, event) in channel.more.iter().filter(|(last, _)| *last >= channel.head) {
                let message = || format!("a page ends with #{last}, the last, and says more");
                self.findings.report(event.at, message, [&**event]);
            }
            if channel.by_time.is_empty() {
                continue;
            }
            let latest = channel.latest();
            for read in &channel.by_time {
                if let Some(wrong) = read.wrong(channel, &latest) {
                    self.findings.report(read.event.at, || wrong, [&*read.event]);
                }
            }
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    const OVER: &What = &What::FaultsOver;

    /// In the fixture, entry `seq` is numbered at 1,000 + `seq` ms, and there are four.
    fn found(bound: HistoryBound, seqs: &[u64], has_more: bool) -> Vec<String> {
        let log = [joined(1, 0), joined(2, 1), hello(), more()];
        let entry = |seq: &u64| log[usize::try_from(*seq).unwrap() - 1].clone();
        let mut events = vec![page_asked(0, bound)];
        events.extend(seqs.iter().map(|seq| page_read(0, entry(seq))));
        events.push(page_ended(0, bound, has_more));
        judged(LogReads::default(), healthy().before(OVER, events))
    }

    fn holds(bound: HistoryBound, seqs: &[u64], has_more: bool) -> bool {
        found(bound, seqs, has_more).is_empty()
    }

    #[test]
    fn a_page_is_one_piece_of_the_log_where_it_was_asked_for() {
        use HistoryBound::{After, Before};
        assert!(holds(After(SeqNo(1)), &[2, 3], true));
        assert!(holds(After(SeqNo(1)), &[2, 3, 4], false));
        assert!(holds(After(SeqNo(4)), &[], false));
        assert!(holds(Before(SeqNo(4)), &[2, 3], true));
        assert!(holds(Before(SeqNo(99)), &[1, 2, 3, 4], false));
        assert!(holds(Before(SeqNo(1)), &[], false));

        assert_eq!(
            found(After(SeqNo(0)), &[1, 3], true),
            ["#3 is on a page and the entry before it is not"]
        );
        assert!(!holds(After(SeqNo(1)), &[3, 4], false), "begins too late");
        assert!(!holds(After(SeqNo(1)), &[1, 2], true), "begins too early");
        assert!(!holds(After(SeqNo(1)), &[2, 3], false), "there is more");
        assert!(!holds(After(SeqNo(1)), &[2, 3, 4], true), "there is no more");
        assert!(!holds(After(SeqNo(3)), &[], false), "there is one");
        assert!(!holds(Before(SeqNo(4)), &[1, 2], false), "ends too early");
        assert!(!holds(Before(SeqNo(4)), &[3, 4], true), "ends too late");
        assert!(!holds(Before(SeqNo(4)), &[2, 3], false), "there is more");
        assert!(!holds(Before(SeqNo(4)), &[1, 2, 3], true), "there is no more");
        assert!(!holds(Before(SeqNo(99)), &[], false), "there are four");
    }

    #[test]
    fn a_page_by_time_begins_with_the_first_entry_as_late() {
        let since = |ms| HistoryBound::Since(WallTime(ms));
        assert!(holds(since(1_003), &[3, 4], false));
        assert!(holds(since(1_005), &[], false));
        assert!(holds(since(0), &[1, 2, 3, 4], false));
        assert_eq!(
            found(since(1_003), &[4], false),
            ["client 0 reads since 1003 ms and is given what follows #3: #3 is as late"]
        );
        assert!(!holds(since(1_003), &[2, 3, 4], false), "begins too early");
        assert!(!holds(since(1_004), &[], false), "there is one");
    }

    #[test]
    fn of_two_pages_asked_for_in_the_same_words_either_may_be_refused() {
        let bound = HistoryBound::After(SeqNo(2));
        let (channel, code) = (channel(), "busy".to_owned());
        let refused = What::PageRefused { client: ClientIndex(0), channel, bound, code };
        let late = [page_asked(0, bound), refused, page_read(0, hello())];
        let history = healthy()
            .before(&received(0, "a", more()), [page_asked(0, bound)])
            .before(OVER, late)
            .before(OVER, [page_ended(0, bound, false)]);
        assert_eq!(judged(LogReads::default(), history), [""; 0]);
    }

    /// Client 1, who has everything, forgets it, and is served anew.
    fn resumed(since_ms: u64, after: u64, next: impl IntoIterator<Item = What>) -> Vec<String> {
        let events = [forgot(1, since_ms), closed(1, "c"), opened(1, "d", &[after])];
        let events = events.into_iter().chain(next);
        judged(LogReads::default(), healthy().before(OVER, events))
    }

    #[test]
    fn who_resumes_by_time_misses_nothing_and_hears_nothing_earlier() {
        assert_eq!(resumed(1_003, 2, []), [""; 0]);
        assert_eq!(resumed(9_999, 4, []), [""; 0]);
        assert_eq!(
            resumed(1_003, 3, []),
            ["client 1 reads since 1003 ms and is given what follows #3: #3 is as late"]
        );
        assert_eq!(
            resumed(1_003, 1, []),
            ["client 1 resumes since 1003 ms and is served #2, numbered at 1002 ms"]
        );
        let left = What::SessionLeft {
            client: ClientIndex(1),
            session: "d".into(),
            channel: channel(),
            until: SeqNo(2),
        };
        assert_eq!(resumed(9_999, 2, [left]), [""; 0], "it is out since #2");
        let new = received(0, "a", message(5, 0, "n9", "x"));
        assert_eq!(resumed(9_999, 4, [new]), [""; 0], "it was not there");
    }

    #[test]
    fn the_log_need_not_rise_in_time() {
        let mut late = hello();
        late.at = WallTime(1_009);
        let since = HistoryBound::Since(WallTime(1_005));
        let page = [page_asked(0, since), page_read(0, late.clone()), page_read(0, more())];
        let history = healthy()
            .with(&received(0, "a", hello()), received(0, "a", late))
            .before(OVER, page)
            .before(OVER, [page_ended(0, since, false)]);
        assert_eq!(judged(LogReads::default(), history), [""; 0], "#4 is earlier and follows #3");
    }
}
