//! The flags of what operators are given: on every node.

use std::path::Path;

use clap::Args;
use tokio::sync::watch;

use seriatim_engine::token::TokenKeys;
use seriatim_node::Operations;
use seriatim_world::Entropy;

use crate::renewal::Renewal;
use crate::{admin_secret, exposure};

#[derive(Debug, Args)]
pub(crate) struct OperatorFlags {
    /// Answer health, metrics and admin requests on this address too, without TLS. With it, admin
    /// requests are answered nowhere else. Not given: where clients connect, and not at all on a
    /// node without clients.
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
}

impl OperatorFlags {
    /// What the node is told, and what follows the secret's file. `data` has it, or gets one.
    pub(crate) fn operations(
        &self,
        data: &Path,
        entropy: &dyn Entropy,
        token_keys: Option<watch::Receiver<TokenKeys>>,
        insecure: bool,
    ) -> anyhow::Result<(Operations, Renewal)> {
        if let Some(address) = &self.http {
            exposure::check_plain("--http", address, insecure)?;
        }
        let (sender, receiver) = watch::channel(admin_secret::load_or_create(data, entropy)?);
        let (files, data) = (vec![admin_secret::path(data)], data.to_owned());
        let renewal = Renewal::new("admin secret", files, move || {
            sender.send_replace(admin_secret::load(&data)?);
            Ok(())
        });
        let admin_key = Some(receiver);
        Ok((Operations { listen: self.http.clone(), admin_key, token_keys }, renewal))
    }
}
