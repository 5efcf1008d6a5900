//! The secret that admin requests carry, kept beside the data: one line, only its owner may read it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use seriatim_engine::admin::AdminKey;
use seriatim_world::Entropy;

use crate::secret;

const FILE: &str = "admin.key";

/// The file's path, for a data folder.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// Reads the node's admin secret from `data`, or makes one at the first start.
pub(crate) fn load_or_create(data: &Path, entropy: &dyn Entropy) -> anyhow::Result<AdminKey> {
    let path = path(data);
    if !path.exists() {
        secret::write(data, &path, &format!("{}\n", secret::random(entropy)))?;
    }
    load(data)
}

/// Reads the node's admin secret from `data`.
pub(crate) fn load(data: &Path) -> anyhow::Result<AdminKey> {
    let text = read(data)?;
    AdminKey::new(&text).with_context(|| format!("{} is bad", path(data).display()))
}

/// The secret itself.
pub(crate) fn read(data: &Path) -> anyhow::Result<String> {
    secret::read(&path(data)).map(|text| text.trim().to_owned())
}
