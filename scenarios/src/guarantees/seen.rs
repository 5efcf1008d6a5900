//! Events on their way to the guarantees.
//!
//! What every guarantee would look up for itself is looked up once: the number of a channel, and
//! whether a position has been seen to hold this entry before.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_engine::ids::ChannelKey;

use crate::history::{Event, What};

use super::positions::Positions;
use super::slot;

/// A channel of the history: its place, from 0, in the order of first appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(pub u32);

/// An event and what is known of its channel and position.
#[derive(Debug)]
pub struct Seen<'a> {
    pub event: &'a Event,
    /// The number of the event's channel, if it has one.
    pub channel: Option<ChannelNumber>,
    /// The numbers of the channels in a `SessionOpened`, in its order; empty otherwise.
    pub session_channels: &'a [ChannelNumber],
    /// The earlier event that first told which entry the event's position holds.
    pub first: Option<&'a Arc<Event>>,
    /// The event has an entry, and it is the one that `first` has.
    pub repeats: bool,
    kept: OnceCell<Arc<Event>>,
}

impl Seen<'_> {
    /// The event to keep: one copy, shared by all guarantees.
    pub(crate) fn keep(&self) -> Arc<Event> {
        self.kept.get_or_init(|| Arc::new(self.event.clone())).clone()
    }
}

/// Recognises channels and entries.
#[derive(Debug, Default)]
pub(crate) struct Recognizer {
    numbers: BTreeMap<ChannelKey, ChannelNumber>,
    /// By number.
    keys: Vec<ChannelKey>,
    /// Runs of events are often about one channel.
    last: usize,
    /// By channel: the first event that had the entry of each position.
    firsts: Vec<Positions<Arc<Event>>>,
    session_channels: Vec<ChannelNumber>,
}

impl Recognizer {
    pub(crate) fn see<'a>(&'a mut self, event: &'a Event) -> Seen<'a> {
        self.session_channels.clear();
        if let What::SessionOpened { channels, .. } = &event.what {
            for (key, _) in channels {
                let number = self.number(key);
                self.session_channels.push(number);
            }
        }
        let channel = event.what.channel().map(|key| self.number(key));
        let kept = OnceCell::new();
        let seq = if let What::Accepted { seq, .. } = &event.what {
            Some(*seq)
        } else {
            event.what.entry().map(|entry| entry.seq)
        };
        let mut first = None;
        if let (Some(number), Some(seq)) = (channel, seq) {
            let firsts = slot(&mut self.firsts, number.0);
            if event.what.entry().is_some() && firsts.at(seq).is_none() {
                let event = kept.get_or_init(|| Arc::new(event.clone()));
                firsts.insert(seq, event.clone());
            } else {
                first = firsts.at(seq);
            }
        }
        let entry = event.what.entry();
        let repeats = entry.is_some() && first.is_some_and(|first| first.what.entry() == entry);
        let session_channels = &self.session_channels;
        Seen { event, channel, session_channels, first, repeats, kept }
    }

    fn number(&mut self, key: &ChannelKey) -> ChannelNumber {
        if self.keys.get(self.last) != Some(key) {
            let known = self.numbers.get(key).copied();
            let number = known.unwrap_or_else(|| {
                let next = u32::try_from(self.keys.len()).expect("channels are limited");
                self.keys.push(key.clone());
                self.numbers.insert(key.clone(), ChannelNumber(next));
                ChannelNumber(next)
            });
            self.last = usize::try_from(number.0).expect("a u32 fits");
        }
        ChannelNumber(u32::try_from(self.last).expect("channels are limited"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    #[test]
    fn an_entry_is_recognised_where_ever_it_shows_and_another_is_told_apart() {
        let mut recognizer = Recognizer::default();
        let other = message(3, 0, "n1", "hullo");
        let history = History(vec![
            received(0, "a", hello()),
            delivered(0, hello()),
            received(1, "b", other),
            accepted(0, "n1", 3),
            accepted(0, "n2", 4),
        ]);
        let seen: Vec<(bool, bool)> = history
            .events()
            .map(|event| {
                let seen = recognizer.see(&event);
                assert_eq!(seen.channel, Some(ChannelNumber(0)));
                (seen.first.is_some(), seen.repeats)
            })
            .collect();
        let expected = [(false, false), (true, true), (true, false), (true, false), (false, false)];
        assert_eq!(seen, expected);
    }
}
