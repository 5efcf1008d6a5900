//! The flags of whatever serves clients: `serve`, and `node --gateway`.

use clap::Args;

use seriatim_engine::gateway::{Rate, RateLimits};
use seriatim_engine::handshake::{AllowedOrigins, Origin};

#[derive(Debug, Args)]
pub(crate) struct GatewayFlags {
    /// Requests a second that one user may make at a gateway, and how many at once after a quiet
    /// time: `PER_S:BURST`. Default: 200:2000.
    #[arg(long, value_name = "PER_S:BURST", value_parser = parse_rate)]
    user_rate: Option<Rate>,
    /// The same for all users of one workspace together. Default: 10000:40000.
    #[arg(long, value_name = "PER_S:BURST", value_parser = parse_rate)]
    workspace_rate: Option<Rate>,
    /// Let pages of this origin connect, besides those of the server's own host: scheme, host and
    /// port as in `https://chat.example.org:8443`. May be repeated.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<Origin>,
    /// Listen where others than this machine can connect, although nothing is encrypted. For
    /// networks that you trust.
    #[arg(long)]
    pub(crate) insecure_plain: bool,
}

impl GatewayFlags {
    pub(crate) fn rates(&self) -> RateLimits {
        let default = RateLimits::default();
        RateLimits {
            user: self.user_rate.unwrap_or(default.user),
            workspace: self.workspace_rate.unwrap_or(default.workspace),
        }
    }

    pub(crate) fn origins(&self) -> AllowedOrigins {
        AllowedOrigins::new(self.allow_origin.clone())
    }
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    let parts = text.split_once(':').and_then(|(per_s, burst)| {
        let (per_s, burst) = (per_s.parse().ok()?, burst.parse().ok()?);
        (per_s > 0 && burst > 0).then_some(Rate { per_s, burst })
    });
    parts.ok_or_else(|| "give two whole numbers above 0, such as 200:2000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_two_numbers_above_zero() {
        assert_eq!(parse_rate("7:9"), Ok(Rate { per_s: 7, burst: 9 }));
        for bad in ["", "7", "0:1", "1:0", "-1:2", "1:2:3", "a:b", "99999999999:1"] {
            assert!(parse_rate(bad).is_err(), "{bad:?} was taken");
        }
    }
}
