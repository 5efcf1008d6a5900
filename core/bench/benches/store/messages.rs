//! Messages of one shape, for 10,000 channels drawn at random.

use seriatim_engine::entry::{Batch, ChannelEntry, Content, Entry};
use seriatim_engine::ids::{
    ChannelId, ChannelKey, Epoch, Nonce, SeqNo, ShardId, UserId, WorkspaceId,
};
use seriatim_engine::time::{LogTime, WallTime};

pub(crate) const SHARD: ShardId = ShardId(0);

const CHANNELS: usize = 10_000;

const BODY_BYTES: usize = 120;

pub(crate) struct Messages {
    channels: Vec<(ChannelKey, SeqNo)>,
    sender: UserId,
    random: Random,
}

impl Messages {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let workspace = WorkspaceId::new("bench")?;
        let channel = |number: usize| {
            let channel = ChannelId::new(&format!("channel-{number:05}"))?;
            anyhow::Ok((ChannelKey { workspace: workspace.clone(), channel }, SeqNo::ZERO))
        };
        let channels = (0..CHANNELS).map(channel).collect::<Result<_, _>>()?;
        Ok(Self { channels, sender: UserId::new("somebody")?, random: Random(1) })
    }

    /// The next `count` messages. All of them have the same length.
    pub(crate) fn batch(
        &mut self,
        count: usize,
        epoch: Epoch,
        at: WallTime,
    ) -> anyhow::Result<Batch> {
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let nonce = format!("{:016x}", self.random.next());
            let index = self.random.below(CHANNELS);
            let (channel, head) =
                self.channels.get_mut(index).expect("it was drawn below the count");
            *head = head.next();
            let body = format!("{nonce:x<BODY_BYTES$}").into();
            let (sender, nonce) = (self.sender.clone(), Nonce::new(&nonce)?);
            let content = Content::Message { sender, nonce, body };
            let entry = Entry { seq: *head, at, content };
            entries.push(ChannelEntry { channel: channel.clone(), entry });
        }
        Ok(Batch::of_entries(SHARD, (epoch, LogTime(0)), entries))
    }

    /// Some channel and its newest position.
    pub(crate) fn draw(&mut self) -> (ChannelKey, SeqNo) {
        let index = self.random.below(CHANNELS);
        self.channels.get(index).cloned().expect("it was drawn below the count")
    }

    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

/// `SplitMix64`: the same messages in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }
}
