//! The flags of whatever serves clients: `serve`, and `node --gateway`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use seriatim_engine::gateway::{Rate, RateLimits};
use seriatim_engine::handshake::{AllowedOrigins, Origin};
use seriatim_world::World;
use seriatim_world::real::{ServerTls, TlsNet, tls_address};

use crate::exposure;
use crate::renewal::Renewal;

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
    /// Serve clients by TLS with this certificate: a PEM file that has the server's own first and
    /// those of its issuers behind it. Read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key: a PEM file, unencrypted.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Listen where others than this machine can connect, although nothing is encrypted. For
    /// networks that you trust.
    #[arg(long)]
    pub(crate) insecure_plain: bool,
}

/// How clients are listened to.
pub(crate) struct Clients {
    /// For [`seriatim_node::GatewayRole::listen`].
    pub(crate) listen: String,
    pub(crate) encrypted: bool,
    /// What of it changes while the server runs.
    pub(crate) renewal: Option<Renewal>,
}

impl GatewayFlags {
    pub(crate) fn rates(&self) -> RateLimits {
        let default = RateLimits::default();
        RateLimits {
            user: self.user_rate.unwrap_or(default.user),
            workspace: self.workspace_rate.unwrap_or(default.workspace),
        }
    }

    /// Checks how clients are to be listened to on `address`, given by `flag`, and makes `world`
    /// able to.
    pub(crate) fn clients(
        &self,
        flag: &str,
        address: &str,
        world: &mut World,
    ) -> anyhow::Result<Clients> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            exposure::check_plain(flag, address, self.insecure_plain)?;
            return Ok(Clients { listen: address.to_owned(), encrypted: false, renewal: None });
        };
        let tls = ServerTls::load(certificate, key)?;
        world.net = Arc::new(TlsNet::new(world.net.clone(), tls.clone()));
        let files = vec![certificate.clone(), key.clone()];
        let renewal = Renewal::new("certificate", files, move || Ok(tls.reload()?));
        Ok(Clients { listen: tls_address(address), encrypted: true, renewal: Some(renewal) })
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
