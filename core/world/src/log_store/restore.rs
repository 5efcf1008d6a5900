//! What an owner needs to go on, from the runs and the entries in memory: no message of a run is
//! read for it.

use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::ChannelEntry;
use seriatim_engine::nonces::Nonces;
use seriatim_engine::time::LogTime;

use super::history::{in_memory, state_entry};
use super::merge::NonceReader;
use super::peek::{peek, records_of};
use super::record::{Flaw, decode_channel};
use super::run::Run;
use super::store::LogStore;
use crate::StoreError;
use crate::store::Recovered;

impl LogStore {
    pub(super) async fn restore(&self, nonce_window: Duration) -> Result<Recovered, StoreError> {
        let log_time = self.log_time();
        let nonces_since = log_time.before(nonce_window);
        // Of the same moment: what a flush moves meanwhile is in one of them.
        let (runs, fresh) = {
            let index = self.index();
            (index.runs().to_vec(), index.fresh_records())
        };
        let first = runs.first().filter(|run| run.footer.is_trimmed());
        let mut recovered = Recovered {
            log_time,
            trimmed_upto: first.map_or(LogTime(0), |run| run.footer.log_time),
            nonces: Nonces::new(nonce_window),
            ..Recovered::default()
        };
        {
            let index = self.index();
            for (name, head) in index.heads() {
                let channel = decode_channel(name).map_err(in_memory)?;
                let state = recovered.channels.entry(channel).or_default();
                (state.head, state.trimmed_upto) = (head, index.trimmed(name).upto);
            }
        }
        for run in &runs {
            restore_state(run, &mut recovered).await?;
            let mut nonces = NonceReader::of(run);
            while let Some(nonce) = nonces.next().await? {
                if nonce.logged >= nonces_since {
                    recovered.nonces.load(nonce.key, nonce.seq, nonce.at, nonce.logged);
                }
            }
        }
        for (record, logged) in fresh {
            restore_record(&record, logged, nonces_since, &mut recovered).map_err(in_memory)?;
        }
        Ok(recovered)
    }
}

async fn restore_state(run: &Arc<Run>, recovered: &mut Recovered) -> Result<(), StoreError> {
    let mut blocks = run.state();
    while let Some((place, payload)) = blocks.next().await? {
        for record in records_of(&payload) {
            let entry = record.and_then(state_entry).map_err(|flaw| run.corrupt(place, flaw))?;
            apply(entry, recovered);
        }
    }
    Ok(())
}

fn restore_record(
    record: &[u8],
    logged: LogTime,
    nonces_since: LogTime,
    recovered: &mut Recovered,
) -> Result<(), Flaw> {
    let seen = peek(record)?;
    if seen.is_state() {
        apply(state_entry(record)?, recovered);
    }
    if logged >= nonces_since {
        recovered.nonces.load(seen.nonce()?, seen.seq, seen.at, logged);
    }
    Ok(())
}

/// Takes the channel's next entry that isn't a message into account.
fn apply(ChannelEntry { channel, entry }: ChannelEntry, recovered: &mut Recovered) {
    recovered.channels.entry(channel).or_default().roster.apply(&entry);
}
