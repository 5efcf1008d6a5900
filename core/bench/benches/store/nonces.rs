//! What a nonce takes in memory while it is remembered.

use std::time::Duration;

use seriatim_bench::cpu::resident_bytes;
use seriatim_bench::table::print;
use seriatim_engine::ids::SeqNo;
use seriatim_engine::nonces::{NonceKey, Nonces};
use seriatim_engine::time::{LogTime, WallTime};

use crate::messages::Random;

/// Remembers `count` nonces. It comes first: what others have freed would hide what this takes.
pub(crate) fn measure(count: u64) -> anyhow::Result<()> {
    let before = resident_bytes(std::process::id());
    let mut nonces = Nonces::new(Duration::from_secs(24 * 60 * 60));
    let mut random = Random(2);
    for number in 1..=count {
        let key = u128::from(random.next()) << 64 | u128::from(random.next());
        nonces.record(NonceKey(key), SeqNo(number), WallTime(1_000_000_000), LogTime(0));
    }
    let resident = resident_bytes(std::process::id()).saturating_sub(before);
    anyhow::ensure!(nonces.count() as u64 == count, "a nonce was forgotten");
    let each = resident as f64 / count as f64;
    print(&format!("{count} live nonces: {each:.1} bytes of resident memory each\n"));
    Ok(())
}
