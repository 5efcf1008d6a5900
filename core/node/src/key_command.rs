//! The subcommand `key`: which secrets sign and verify tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use seriatim_engine::ids::KeyId;
use seriatim_world::real::OsEntropy;

use crate::cli::{Usage, say};
use crate::secret;

#[derive(Debug, Args)]
pub(crate) struct KeyCommand {
    #[command(subcommand)]
    action: Action,
    /// The data folder of the server that the keys are of.
    #[arg(long, default_value = "data", global = true)]
    data: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the keys' ids.
    List,
    /// Add a key that signs from now on; those there are go on verifying. A running server reads it
    /// within seconds. Copy the file to every gateway.
    Rotate,
    /// Remove a key: tokens that it signed are refused from now on.
    Retire { id: String },
}

impl KeyCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::List => {
                let ids = secret::ids(&self.data)?;
                for (index, id) in ids.iter().enumerate() {
                    let does = if index + 1 == ids.len() { "signs, verifies" } else { "verifies" };
                    say(&format!("{id}  {does}"));
                }
            }
            Action::Rotate => {
                let id = secret::rotate(&self.data, &OsEntropy)?;
                say(&format!(
                    "key {id} signs from now on. Copy {} to every gateway of the deployment, and \
                     retire the earlier key once the tokens that it signed have expired.",
                    secret::path(&self.data).display()
                ));
            }
            Action::Retire { id } => {
                let id = KeyId::new(&id).map_err(|error| Usage(format!("the id {error}")))?;
                secret::retire(&self.data, &id)?;
                say(&format!("key {id} is gone: tokens that it signed are refused from now on."));
            }
        }
        Ok(())
    }
}
