//! The secret that signs tokens, kept beside the data.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};

use seriatim_engine::token::TokenKey;
use seriatim_world::Entropy;

const FILE: &str = "token.key";

/// Reads the deployment's secret from `data`, or makes one at the first start.
pub(crate) fn load_or_create(data: &Path, entropy: &dyn Entropy) -> anyhow::Result<TokenKey> {
    let path = data.join(FILE);
    if !path.exists() {
        let secret: String = (0..4).map(|_| format!("{:016x}", entropy.next_u64())).collect();
        create(data, &path, &secret).with_context(|| format!("can't create {}", path.display()))?;
    }
    load(data)
}

/// Writes the secret, whole or not at all: half a secret would keep the server from starting, and
/// a secret that a power loss took back would void every token.
fn create(data: &Path, path: &Path, secret: &str) -> std::io::Result<()> {
    fs::create_dir_all(data)?;
    let draft = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(data)?.sync_all()
}

/// Reads the deployment's secret from `data`.
pub(crate) fn load(data: &Path) -> anyhow::Result<TokenKey> {
    let path = data.join(FILE);
    if !path.exists() {
        bail!(
            "{} does not exist; start the server once, give its --data, or copy the file there",
            path.display()
        );
    }
    let secret =
        fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    TokenKey::new(secret.trim().as_bytes()).with_context(|| format!("{} is bad", path.display()))
}
