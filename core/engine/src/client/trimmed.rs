//! What of a channel the server did not keep: it is told once, and delivery goes on behind it.

use super::{Client, ClientEvent, Effect};
use crate::ids::{ChannelId, SeqNo};
use crate::time::MonoTime;

impl Client {
    /// The server did not keep the channel's entries up to `upto`: goes on behind them.
    pub(super) fn trimmed(
        &mut self,
        now: MonoTime,
        channel: &ChannelId,
        upto: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let mut due = Vec::new();
        let Some(view) = self.channels.get_mut(channel) else { return };
        let Some(after) = view.skip(upto, &mut due) else { return };
        let channel = channel.clone();
        effects.push(Effect::Emit(ClientEvent::Trimmed { channel: channel.clone(), after, upto }));
        for entry in due {
            let channel = channel.clone();
            effects.push(Effect::Emit(ClientEvent::Delivered { channel, entry }));
        }
        self.fill(now, &channel, effects);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::super::tests::{at, channel, live, message};
    use super::*;
    use crate::frame::ServerFrame;

    fn heard(client: &mut Client, frame: ServerFrame) -> Vec<String> {
        let mut heard = Vec::new();
        for effect in client.feed(at(100), Input::Frame(frame)) {
            match effect {
                Effect::Emit(ClientEvent::Delivered { entry, .. }) => {
                    heard.push(format!("{}", entry.seq));
                }
                Effect::Emit(ClientEvent::Trimmed { after, upto, .. }) => {
                    heard.push(format!("{after} to {upto} gone"));
                }
                Effect::Send(frame) => heard.push(format!("{frame:?}")),
                Effect::Connect { .. }
                | Effect::Disconnect
                | Effect::RenewToken
                | Effect::Emit(_) => {}
            }
        }
        heard
    }

    #[test]
    fn what_is_gone_is_told_once_and_delivery_goes_on_behind_it() {
        let mut client = live();
        let last = client.positions().next().expect("one channel").1;
        let upto = SeqNo(last.0 + 5);
        let trimmed = || ServerFrame::Trimmed { channel: channel(), upto };
        let told = format!("{last} to {upto} gone");
        assert_eq!(heard(&mut client, trimmed()), [told]);
        assert_eq!(heard(&mut client, trimmed()), [""; 0]);
        let next = upto.next();
        assert_eq!(heard(&mut client, message(next.0)), [format!("{next}")]);
    }

    #[test]
    fn a_page_that_was_to_fill_a_gap_may_tell_that_it_is_gone() {
        let mut client = live();
        let last = client.positions().next().expect("one channel").1;
        let asked = heard(&mut client, message(last.0 + 9));
        assert!(asked.first().is_some_and(|asked| asked.contains("History")), "{asked:?}");
        let (messages, more) = (Vec::new(), false);
        let trimmed_upto = Some(SeqNo(last.0 + 8));
        let reply_to = client.last_id;
        let page = ServerFrame::Page { reply_to, channel: channel(), messages, more, trimmed_upto };
        let told = format!("{last} to {} gone", last.0 + 8);
        assert_eq!(heard(&mut client, page), [told, format!("{}", last.0 + 9)]);
    }
}
