//! The keys of a deployment: one signs, all verify.
//!
//! A key is replaced without a moment at which sound tokens are refused: a new one is added and
//! signs from then on, and the old one is retired once the last token that it signed has expired.
//! A token names its key in its header (`kid`); one that names none is tried with each.

use super::{Claims, SecretTooShort, SignedToken, TokenError, TokenKey};
use crate::ids::{KeyId, NameError};
use crate::limits::TOKEN_KEYS_MAX;
use crate::time::WallTime;

/// The id of a key whose line gives none: the only secret of a file of earlier times.
const UNNAMED: &str = "1";

/// One key or more. Their `Debug` shows the ids only.
#[derive(Debug, Clone)]
pub struct TokenKeys {
    /// All but the newest.
    older: Vec<(KeyId, TokenKey)>,
    newest: (KeyId, TokenKey),
}

/// Why a text does not give keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("there is no key; give a line with an id, a space and a secret for each")]
    None,
    #[error("there are {count} keys; at most {TOKEN_KEYS_MAX} are kept: retire old ones")]
    TooMany { count: usize },
    #[error("line {line} is not an id, a space and a secret")]
    Line { line: usize },
    #[error("line {line}: the key's id {why}")]
    Id { line: usize, why: NameError },
    #[error("line {line}: {why}")]
    Secret { line: usize, why: SecretTooShort },
    #[error("line {line}: the id {id} was used before; give each key another")]
    Twice { line: usize, id: KeyId },
}

/// The ids and secrets that `text` holds, a line each, the oldest first. A line may hold only a
/// secret: then its id is 1.
///
/// # Errors
/// [`KeysError`] names the line.
pub fn parse_keys(text: &str) -> Result<Vec<(KeyId, &str)>, KeysError> {
    let mut keys: Vec<(KeyId, &str)> = Vec::new();
    for (content, line) in text.lines().zip(1..) {
        let mut words = content.split_whitespace();
        let (id, secret) = match (words.next(), words.next(), words.next()) {
            (None, ..) => continue,
            (Some(secret), None, _) => (UNNAMED, secret),
            (Some(id), Some(secret), None) => (id, secret),
            (Some(_), Some(_), Some(_)) => return Err(KeysError::Line { line }),
        };
        let id = KeyId::new(id).map_err(|why| KeysError::Id { line, why })?;
        TokenKey::new(secret.as_bytes()).map_err(|why| KeysError::Secret { line, why })?;
        if keys.iter().any(|(earlier, _)| *earlier == id) {
            return Err(KeysError::Twice { line, id });
        }
        keys.push((id, secret));
    }
    if keys.len() > TOKEN_KEYS_MAX {
        return Err(KeysError::TooMany { count: keys.len() });
    }
    Ok(keys)
}

impl TokenKeys {
    /// The keys that `text` holds; see [`parse_keys`]. The last signs.
    ///
    /// # Errors
    /// [`KeysError`] names the line.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut older = Vec::new();
        for ((id, secret), line) in parse_keys(text)?.into_iter().zip(1..) {
            let key = TokenKey::new(secret.as_bytes());
            older.push((id, key.map_err(|why| KeysError::Secret { line, why })?));
        }
        let newest = older.pop().ok_or(KeysError::None)?;
        Ok(Self { older, newest })
    }

    /// The token that says `claims`, signed by the newest key.
    pub fn sign(&self, claims: &Claims) -> String {
        let (id, key) = &self.newest;
        key.sign_as(Some(id), claims)
    }

    /// What `token` says, if it is signed by one of the keys, by the one that it names if it does,
    /// and holds at `now`.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn verify(&self, token: &str, now: WallTime) -> Result<Claims, TokenError> {
        let token = SignedToken::parse(token)?;
        let mut all = self.older.iter().chain([&self.newest]);
        match &token.key {
            Some(id) => {
                let (_, key) = all
                    .find(|(known, _)| known == id)
                    .ok_or_else(|| TokenError::UnknownKey { key: id.clone() })?;
                key.check(&token)?;
            }
            None => {
                if !all.any(|(_, key)| key.check(&token).is_ok()) {
                    return Err(TokenError::BadSignature);
                }
            }
        }
        token.claims(now)
    }
}

/// The only key of a deployment.
impl From<TokenKey> for TokenKeys {
    fn from(key: TokenKey) -> Self {
        let id = KeyId::new(UNNAMED).expect("a digit is a sound id");
        Self { older: Vec::new(), newest: (id, key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{UserId, WorkspaceId};

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210fedcba9876543210";

    fn keys(text: &str) -> TokenKeys {
        TokenKeys::parse(text).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            workspace: WorkspaceId::new("acme").unwrap(),
            user: UserId::new("ada").unwrap(),
            expires_at: WallTime(9_000),
        }
    }

    fn verify(keys: &TokenKeys, token: &str) -> Result<Claims, TokenError> {
        keys.verify(token, WallTime(0))
    }

    fn unknown(id: &str) -> Result<Claims, TokenError> {
        Err(TokenError::UnknownKey { key: KeyId::new(id).unwrap() })
    }

    #[test]
    fn a_key_is_replaced_without_refusing_a_token_that_still_holds() {
        let before = keys(OLD);
        let both = keys(&format!("{OLD}\n2 {NEW}\n"));
        let after = keys(&format!("2 {NEW}\n"));
        let (old, new) = (before.sign(&claims()), both.sign(&claims()));

        assert_eq!(verify(&both, &old), Ok(claims()), "the old key verifies");
        assert_eq!(verify(&both, &new), Ok(claims()));
        assert_eq!(verify(&after, &new), Ok(claims()), "the new key signs");
        assert_eq!(verify(&before, &new), unknown("2"), "not there yet");
        assert_eq!(verify(&after, &old), unknown("1"), "retired");
    }

    #[test]
    fn a_token_that_names_no_key_is_tried_with_each() {
        let both = keys(&format!("1 {OLD}\n2 {NEW}\n"));
        for secret in [OLD, NEW] {
            let token = TokenKey::new(secret.as_bytes()).unwrap().sign(&claims());
            assert_eq!(verify(&both, &token), Ok(claims()));
        }
        let foreign = TokenKey::new(&[7; 32]).unwrap().sign(&claims());
        assert_eq!(verify(&both, &foreign), Err(TokenError::BadSignature));
    }

    #[test]
    fn a_token_is_checked_with_the_key_that_it_names_and_no_other() {
        let swapped = keys(&format!("1 {NEW}\n2 {OLD}\n"));
        let token = keys(&format!("1 {OLD}\n2 {NEW}\n")).sign(&claims());
        assert_eq!(verify(&swapped, &token), Err(TokenError::BadSignature));
    }

    #[test]
    fn what_gives_no_keys_is_refused_with_its_line() {
        let too_many: String = (0..=TOKEN_KEYS_MAX).map(|id| format!("{id} {OLD}\n")).collect();
        for (text, expected) in [
            ("", "there is no key"),
            ("\n \n", "there is no key"),
            ("short", "line 1: token secret has 5 bytes"),
            (&format!("1 {OLD}\n2 short"), "line 2: token secret has 5 bytes"),
            (&format!("1 {OLD}\n\n1 {NEW}"), "line 3: the id 1 was used before"),
            (&format!("{OLD}\n{NEW}"), "line 2: the id 1 was used before"),
            (&format!("a/b {OLD}"), "line 1: the key's id has the character '/'"),
            (&format!("1 {OLD} x"), "line 1 is not an id, a space and a secret"),
            (&too_many, "there are 9 keys; at most 8 are kept"),
        ] {
            let error = TokenKeys::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error:?} for {text:?}");
        }
        let most: String = (0..TOKEN_KEYS_MAX).map(|id| format!("{id} {OLD}\n")).collect();
        assert!(TokenKeys::parse(&most).is_ok());
    }

    #[test]
    fn secrets_stay_hidden() {
        let shown = format!("{:?}", keys(&format!("1 {OLD}\n2 {NEW}\n")));
        assert!(shown.contains("hidden") && !shown.contains(OLD) && !shown.contains(NEW));
    }
}
