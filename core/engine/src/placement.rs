//! Which shard a channel belongs to, and other scattering of names and numbers.

use crate::ids::{ShardId, WorkspaceId};

/// FNV-1a, 64 bit (offset basis and prime from the FNV reference). Frozen: data is placed by it.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// A workspace's data lives together: the same shard for all its channels and users.
///
/// # Panics
/// `shards` is 0.
pub fn shard_of(workspace: &WorkspaceId, shards: u32) -> ShardId {
    assert!(shards > 0, "a deployment has at least one shard");
    let shard = fnv1a(workspace.as_str()) % u64::from(shards);
    ShardId(u32::try_from(shard).expect("smaller than a u32"))
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): a bijection that scatters its input.
pub fn scatter(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_is_frozen() {
        let shard = |name: &str| shard_of(&WorkspaceId::new(name).unwrap(), 8).0;
        assert_eq!(["w1", "w2", "acme"].map(shard), [5, 4, 7]);
    }
}
