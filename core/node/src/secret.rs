//! The secrets that sign tokens, kept beside the data: a line each, the newest last.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use seriatim_engine::ids::KeyId;
use seriatim_engine::limits::TOKEN_KEYS_MAX;
use seriatim_engine::token::{TokenKeys, parse_keys};
use seriatim_world::Entropy;

const FILE: &str = "token.key";

/// The file's path, for a data folder.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// Reads the deployment's secrets from `data`, or makes one at the first start.
pub(crate) fn load_or_create(data: &Path, entropy: &dyn Entropy) -> anyhow::Result<TokenKeys> {
    let path = path(data);
    if !path.exists() {
        // The only one needs no id.
        write(data, &path, &format!("{}\n", random(entropy)))?;
    }
    load(data)
}

/// Reads the deployment's secrets from `data`.
pub(crate) fn load(data: &Path) -> anyhow::Result<TokenKeys> {
    let text = read(&path(data))?;
    TokenKeys::parse(&text).with_context(|| format!("{} is bad", path(data).display()))
}

/// The ids of the keys, the newest last: it signs.
pub(crate) fn ids(data: &Path) -> anyhow::Result<Vec<KeyId>> {
    let text = read(&path(data))?;
    Ok(parse(data, &text)?.into_iter().map(|(id, _)| id).collect())
}

/// Adds a key, which signs from now on. Gives its id.
pub(crate) fn rotate(data: &Path, entropy: &dyn Entropy) -> anyhow::Result<KeyId> {
    let text = read(&path(data))?;
    let mut keys = parse(data, &text)?;
    ensure!(
        keys.len() < TOKEN_KEYS_MAX,
        "there are {TOKEN_KEYS_MAX} keys, which is all that are kept; retire old ones first"
    );
    let newest = keys.iter().filter_map(|(id, _)| id.as_str().parse::<u32>().ok()).max();
    let id = KeyId::new(&newest.unwrap_or_default().saturating_add(1).to_string())?;
    let secret = random(entropy);
    keys.push((id.clone(), &secret));
    write(data, &path(data), &lines(&keys))?;
    Ok(id)
}

/// Removes a key: what it signed is refused from now on.
pub(crate) fn retire(data: &Path, id: &KeyId) -> anyhow::Result<()> {
    let text = read(&path(data))?;
    let mut keys = parse(data, &text)?;
    let Some(index) = keys.iter().position(|(known, _)| known == id) else {
        bail!("there is no key {id}; `key list` shows which there are");
    };
    ensure!(index + 1 < keys.len(), "key {id} signs; rotate first, and retire it later");
    keys.remove(index);
    write(data, &path(data), &lines(&keys))
}

fn lines(keys: &[(KeyId, &str)]) -> String {
    keys.iter().fold(String::new(), |mut text, (id, secret)| {
        writeln!(text, "{id} {secret}").expect("a String takes all");
        text
    })
}

/// 256 random bits, in hexadecimal.
pub(crate) fn random(entropy: &dyn Entropy) -> String {
    (0..4).map(|_| format!("{:016x}", entropy.next_u64())).collect()
}

fn parse<'a>(data: &Path, text: &'a str) -> anyhow::Result<Vec<(KeyId, &'a str)>> {
    parse_keys(text).with_context(|| format!("{} is bad", path(data).display()))
}

/// Reads a file of secrets.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    if !path.exists() {
        bail!(
            "{} does not exist; start the server once, give its --data, or copy the file there",
            path.display()
        );
    }
    fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

/// Writes the secrets, whole or not at all: half a secret would keep the server from starting, and
/// a secret that a power loss took back would void every token.
pub(crate) fn write(data: &Path, path: &Path, text: &str) -> anyhow::Result<()> {
    replace(data, path, text).with_context(|| format!("can't write {}", path.display()))
}

fn replace(data: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    fs::create_dir_all(data)?;
    let draft = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(data)?.sync_all()
}
