//! The channels that a client follows: from where it is served, what arrives, and the end.

use super::{Client, ClientEvent, Effect};
use crate::client_session::ChannelView;
use crate::frame::{ChannelStatus, LogFrame, Resume};
use crate::ids::{ChannelId, SeqNo};
use crate::time::{MonoTime, WallTime};

impl Client {
    /// Where the next session goes on.
    pub(super) fn resume_points(&self) -> Vec<Resume> {
        let positions =
            self.channels.iter().map(|(channel, view)| Resume::after(channel.clone(), view.last()));
        let times = self.since.iter().map(|(channel, at)| Resume::since(channel.clone(), *at));
        positions.chain(times).collect()
    }

    /// What was delivered of the channel is forgotten: it goes on where it was at `since`.
    pub(super) fn resume_since(
        &mut self,
        now: MonoTime,
        channel: ChannelId,
        since: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        self.channels.remove(&channel);
        self.since.insert(channel, since);
        self.reconnect(now, effects);
    }

    /// Keeps what a known channel has; a new one starts where the server serves it from.
    pub(super) fn follow(&mut self, status: &ChannelStatus) {
        self.read_known(&status.channel, status.read);
        self.channels
            .entry(status.channel.clone())
            .or_insert_with(|| ChannelView::new(status.after));
    }

    /// The user is no member any more. The server has sent everything up to `until`; if something
    /// of it is missing, it does so again on a new connection.
    pub(super) fn left(
        &mut self,
        now: MonoTime,
        channel: ChannelId,
        until: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let Some(view) = self.channels.get(&channel) else { return };
        if view.last() < until {
            return self.reconnect(now, effects);
        }
        self.channels.remove(&channel);
        self.forget_read(&channel);
        effects.push(Effect::Emit(ClientEvent::Left { channel, until }));
    }

    pub(super) fn log(
        &mut self,
        now: MonoTime,
        frames: impl IntoIterator<Item = LogFrame>,
        effects: &mut Vec<Effect>,
    ) {
        let mut due = Vec::new();
        for frame in frames {
            let (channel, entry) = frame.into_entry();
            let received = ClientEvent::Received { channel: channel.clone(), entry: entry.clone() };
            effects.push(Effect::Emit(received));
            let Some(view) = self.channels.get_mut(&channel) else { continue };
            if view.take(entry, &mut due).is_err() {
                return self.reconnect(now, effects);
            }
            for entry in due.drain(..) {
                let channel = channel.clone();
                effects.push(Effect::Emit(ClientEvent::Delivered { channel, entry }));
            }
            self.fill(now, &channel, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, channel, live, welcome};
    use super::super::{Command, Input};
    use super::*;
    use crate::frame::ClientFrame;

    /// What the `hello` resumes that the client says at its next connection.
    fn resumed(client: &mut Client, ms: u64) -> Vec<Resume> {
        client.feed(at(ms), Input::Tick);
        let said = client.feed(at(ms), Input::Connected);
        match said.as_slice() {
            [Effect::Send(ClientFrame::Hello { resume, .. })] => resume.clone(),
            other => panic!("no hello: {other:?}"),
        }
    }

    #[test]
    fn what_a_client_forgot_goes_on_at_the_time_that_it_names_until_it_is_served() {
        let mut client = live();
        let since = WallTime(7);
        let command = Command::ResumeSince { channel: channel(), since };
        client.feed(at(100), Input::Command(command));
        let by_time = [Resume::since(channel(), since)];
        assert_eq!(resumed(&mut client, 100), by_time);
        client.feed(at(200), Input::Disconnected);
        assert_eq!(resumed(&mut client, 60_000), by_time, "nobody has answered");

        client.feed(at(60_100), Input::Frame(welcome(4)));
        assert_eq!(client.positions().collect::<Vec<_>>(), [(&channel(), SeqNo(4))]);
        client.feed(at(60_200), Input::Command(Command::Reconnect));
        assert_eq!(resumed(&mut client, 60_200), [Resume::after(channel(), SeqNo(4))]);
    }
}
