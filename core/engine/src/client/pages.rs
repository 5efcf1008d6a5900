//! Pages of the log that a client asks for: to fill a gap, or because the application wants to read.

use std::collections::BTreeMap;

use super::{Client, ClientEvent, Effect, Phase};
use crate::entry::Entry;
use crate::frame::{ClientFrame, LogFrame, RejectCode};
use crate::history_bound::HistoryBound;
use crate::ids::{ChannelId, SeqNo};
use crate::limits::CLIENT_OUTSTANDING_MAX;
use crate::time::MonoTime;

/// What a page was asked for.
#[derive(Debug)]
pub(super) enum Page {
    /// Entries came early in this channel.
    Fill(ChannelId),
    /// The application wants it.
    Read(ChannelId, HistoryBound),
}

/// A page that came.
pub(super) struct PageFrame {
    pub(super) messages: Vec<LogFrame>,
    pub(super) more: bool,
    pub(super) trimmed_upto: Option<SeqNo>,
}

/// The pages that have not come yet, by the ids of their requests. With a connection go its pages.
#[derive(Debug, Default)]
pub(super) struct Pages {
    asked: BTreeMap<u64, Page>,
    /// A page to fill a gap was refused for a while: when to ask again.
    refill_at: Option<MonoTime>,
}

impl Pages {
    pub(super) fn answered(&mut self, id: u64) -> Option<Page> {
        self.asked.remove(&id)
    }

    pub(super) fn refill_at(&self) -> Option<MonoTime> {
        self.refill_at
    }
}

impl Client {
    /// Asks for what is missing before entries that came early, unless that is on its way.
    pub(super) fn fill(&mut self, now: MonoTime, channel: &ChannelId, effects: &mut Vec<Effect>) {
        let Some(view) = self.channels.get_mut(channel) else { return };
        if !view.should_fill() {
            return;
        }
        let bound = HistoryBound::After(view.last());
        self.ask_page(now, Page::Fill(channel.clone()), channel.clone(), bound, effects);
    }

    /// Asks again for what was refused for a while.
    pub(super) fn refill(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        if self.pages.refill_at.is_some_and(|at| at <= now) {
            self.pages.refill_at = None;
            let channels: Vec<ChannelId> = self.channels.keys().cloned().collect();
            for channel in channels {
                self.fill(now, &channel, effects);
            }
        }
    }

    pub(super) fn read_log(
        &mut self,
        now: MonoTime,
        channel: ChannelId,
        bound: HistoryBound,
        effects: &mut Vec<Effect>,
    ) {
        let (code, message) = if !matches!(self.phase, Phase::Live { .. }) {
            (RejectCode::Unavailable, "there is no connection".to_owned())
        } else if self.pages.asked.len() >= CLIENT_OUTSTANDING_MAX {
            let message = format!("{CLIENT_OUTSTANDING_MAX} pages wait for their reply already");
            (RejectCode::Busy, message)
        } else {
            let page = Page::Read(channel.clone(), bound);
            return self.ask_page(now, page, channel, bound, effects);
        };
        effects.push(Effect::Emit(ClientEvent::LogRefused { channel, bound, code, message }));
    }

    fn ask_page(
        &mut self,
        now: MonoTime,
        page: Page,
        channel: ChannelId,
        bound: HistoryBound,
        effects: &mut Vec<Effect>,
    ) {
        self.last_id += 1;
        let id = self.last_id;
        self.pages.asked.insert(id, page);
        self.say(now, ClientFrame::history(id, channel, bound), effects);
    }

    pub(super) fn page(
        &mut self,
        now: MonoTime,
        reply_to: u64,
        channel: ChannelId,
        page: PageFrame,
        effects: &mut Vec<Effect>,
    ) {
        let PageFrame { messages, more, trimmed_upto } = page;
        match self.pages.answered(reply_to) {
            Some(Page::Read(_, bound)) => {
                let entries: Vec<Entry> =
                    messages.into_iter().map(|frame| frame.into_entry().1).collect();
                let event = ClientEvent::LogPage { channel, bound, entries, more, trimmed_upto };
                effects.push(Effect::Emit(event));
            }
            Some(Page::Fill(channel)) => {
                if let Some(view) = self.channels.get_mut(&channel) {
                    view.filled();
                }
                if let Some(upto) = trimmed_upto {
                    self.trimmed(now, &channel, upto, effects);
                }
                self.log(now, messages, effects);
            }
            // Nobody asked.
            None => {}
        }
    }

    /// `again_at` is when to ask again, if that is of any use.
    pub(super) fn page_refused(
        &mut self,
        page: Page,
        code: RejectCode,
        message: String,
        again_at: MonoTime,
        effects: &mut Vec<Effect>,
    ) {
        match page {
            Page::Read(channel, bound) => {
                let event = ClientEvent::LogRefused { channel, bound, code, message };
                effects.push(Effect::Emit(event));
            }
            Page::Fill(channel) => {
                if let Some(view) = self.channels.get_mut(&channel) {
                    view.filled();
                }
                if code.is_retryable() {
                    self.pages.refill_at = Some(again_at);
                }
            }
        }
    }

    /// The connection is gone, and its pages with it.
    pub(super) fn close_pages(&mut self, effects: &mut Vec<Effect>) {
        self.pages.refill_at = None;
        for view in self.channels.values_mut() {
            view.filled();
        }
        for page in std::mem::take(&mut self.pages.asked).into_values() {
            let Page::Read(channel, bound) = page else { continue };
            let code = RejectCode::Unavailable;
            let message = "the connection ended before the page came; ask again".to_owned();
            let event = ClientEvent::LogRefused { channel, bound, code, message };
            effects.push(Effect::Emit(event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, channel, live};
    use super::super::{Command, Input};
    use super::*;
    use crate::frame::ServerFrame;

    const BOUND: HistoryBound = HistoryBound::Before(SeqNo(8));

    fn read(client: &mut Client, ms: u64) -> Vec<Effect> {
        let command = Command::ReadLog { channel: channel(), bound: BOUND };
        client.feed(at(ms), Input::Command(command))
    }

    fn asked(effects: &[Effect]) -> u64 {
        match effects {
            [
                Effect::Send(ClientFrame::History {
                    id,
                    after: None,
                    before: Some(SeqNo(8)),
                    since_ms: None,
                    ..
                }),
            ] => *id,
            other => panic!("not asked: {other:?}"),
        }
    }

    fn refused(effects: &[Effect]) -> Vec<RejectCode> {
        let mut codes = Vec::new();
        for effect in effects {
            if let Effect::Emit(ClientEvent::LogRefused { code, .. }) = effect {
                codes.push(*code);
            }
        }
        codes
    }

    fn page(reply_to: u64) -> Input {
        let (channel, messages, more, trimmed_upto) = (channel(), Vec::new(), true, None);
        Input::Frame(ServerFrame::Page { reply_to, channel, messages, more, trimmed_upto })
    }

    #[test]
    fn a_page_that_is_read_is_handed_on_and_delivers_nothing() {
        let mut client = live();
        let id = asked(&read(&mut client, 100));
        let (channel, entries, more, trimmed_upto) = (channel(), Vec::new(), true, None);
        let event = ClientEvent::LogPage { channel, bound: BOUND, entries, more, trimmed_upto };
        assert_eq!(client.feed(at(200), page(id)), [Effect::Emit(event)]);
        assert_eq!(client.feed(at(300), page(id)), [], "nobody asked again");
    }

    #[test]
    fn a_page_that_does_not_come_is_refused_once() {
        let mut client = live();
        let reply_to = Some(asked(&read(&mut client, 100)));
        let (code, retry_after_ms) = (RejectCode::NotMember, None);
        let message = String::new();
        let frame = ServerFrame::Rejected { reply_to, code, message, retry_after_ms };
        assert_eq!(refused(&client.feed(at(200), Input::Frame(frame))), [code]);

        asked(&read(&mut client, 300));
        assert_eq!(refused(&client.feed(at(400), Input::Disconnected)), [RejectCode::Unavailable]);
        assert_eq!(refused(&read(&mut client, 500)), [RejectCode::Unavailable], "no connection");
    }

    #[test]
    fn pages_that_wait_are_bounded() {
        let mut client = live();
        for _ in 0..CLIENT_OUTSTANDING_MAX {
            asked(&read(&mut client, 100));
        }
        assert_eq!(refused(&read(&mut client, 100)), [RejectCode::Busy]);
    }
}
