//! The flags of whatever owns shards, for how much of their logs is kept: `serve`, and `node --messages`.

use std::time::Duration;

use clap::Args;

use seriatim_engine::limits::{NONCE_WINDOW, RETAINED_BYTES_MIN};
use seriatim_world::log_store::{LogStoreOptions, Retention};

use crate::cli::Usage;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Args)]
pub(crate) struct RetentionFlags {
    /// Keep messages for so many days, counted while the server runs, and let older ones go for good.
    /// Without it, age lets none go.
    #[arg(long, value_name = "DAYS")]
    retain_days: Option<u32>,
    /// Keep the newest messages, as many as fit into so many MiB of each shard's log, and let the
    /// oldest go for good. Without it, size lets none go.
    #[arg(long, value_name = "MIB")]
    retain_mib: Option<u64>,
}

impl RetentionFlags {
    /// How the store is set up.
    ///
    /// # Errors
    /// [`Usage`]
    pub(crate) fn store(&self) -> Result<LogStoreOptions, Usage> {
        let age = self.retain_days.map(|days| DAY.saturating_mul(days));
        if let Some(days) = self.retain_days
            && DAY.saturating_mul(days) < NONCE_WINDOW
        {
            let hours = NONCE_WINDOW.as_secs() / 3_600;
            let message = format!(
                "--retain-days {days} is less than the {hours} hours for which a message may be sent \
                 again with its nonce: it would be answered with a seq that nobody can read; give \
                 1 or more"
            );
            return Err(Usage(message));
        }
        let bytes = self.retain_mib.map(|mib| mib.saturating_mul(1 << 20));
        if let Some(bytes) = bytes
            && bytes < RETAINED_BYTES_MIN
        {
            let least = RETAINED_BYTES_MIN >> 20;
            let message = format!(
                "--retain-mib {} is too little to keep a log in: give {least} or more",
                bytes >> 20
            );
            return Err(Usage(message));
        }
        let retention = Retention { age, bytes };
        Ok(LogStoreOptions { retention, ..LogStoreOptions::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(days: Option<u32>, mib: Option<u64>) -> Result<Retention, String> {
        let flags = RetentionFlags { retain_days: days, retain_mib: mib };
        flags.store().map(|options| options.retention).map_err(|usage| usage.0)
    }

    #[test]
    fn everything_is_kept_unless_a_limit_is_given() {
        assert_eq!(store(None, None), Ok(Retention::default()));
        let both = Retention { age: Some(30 * DAY), bytes: Some(64 << 20) };
        assert_eq!(store(Some(30), Some(64)), Ok(both));
        assert_eq!(store(Some(1), None).map(|kept| kept.age), Ok(Some(NONCE_WINDOW)));
    }

    #[test]
    fn too_little_is_refused() {
        let message = store(Some(0), None).unwrap_err();
        assert!(message.contains("nonce") && message.contains("give 1 or more"), "{message}");
        let message = store(None, Some(63)).unwrap_err();
        assert!(message.contains("give 64 or more"), "{message}");
    }
}
