//! Signed tokens: who a connection speaks for, and until when.
//!
//! A token is a JSON Web Token signed with HS256 (RFC 7519, RFC 7515). A [`TokenKey`] holds a secret
//! of the deployment, [`TokenKeys`] all of them; `seriatim-server token` and every backend that knows
//! the secret mint tokens and the gateway verifies them in `hello`. Nothing of a token is believed before its signature
//! has been checked in constant time, and no algorithm but HS256 is ever used.

mod keys;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::ids::{KeyId, UserId, WorkspaceId};
use crate::limits::{SECRET_BYTES_MIN, TOKEN_BYTES_MAX};
use crate::time::WallTime;

pub use keys::{KeysError, TokenKeys, parse_keys};

const MS_PER_SECOND: u64 = 1_000;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub workspace: WorkspaceId,
    pub user: UserId,
    /// From here on the token is refused. A token keeps whole seconds, rounded down.
    pub expires_at: WallTime,
}

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("token is malformed: {why}; mint one with `seriatim-server token`")]
    Malformed { why: &'static str },
    #[error("token has {bytes} bytes; the limit is {TOKEN_BYTES_MAX}: mint it with fewer claims")]
    TooLong { bytes: usize },
    #[error("token is not signed by HS256, the only algorithm accepted; mint it with that")]
    WrongAlgorithm,
    #[error("token names the key {key}, which is not in use here; ask for a new one")]
    UnknownKey { key: KeyId },
    #[error("token is not signed with this deployment's secret; mint it with the secret in use")]
    BadSignature,
    #[error("token holds only in {in_seconds} s; connect then, or set the issuer's clock")]
    NotYetValid { in_seconds: u64 },
    #[error("token expired {ago_seconds} s ago; ask for a new one and connect again")]
    Expired { ago_seconds: u64 },
}

/// Why a secret was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "token secret has {bytes} bytes; give at least {SECRET_BYTES_MIN}, for example from \
     `openssl rand -hex 32`"
)]
pub struct SecretTooShort {
    pub bytes: usize,
}

/// The secret that signs and verifies tokens. Its `Debug` does not show it.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    /// A key from at least [`SECRET_BYTES_MIN`] bytes of secret.
    pub fn new(secret: &[u8]) -> Result<Self, SecretTooShort> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SecretTooShort { bytes: secret.len() });
        }
        Ok(Self(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length")))
    }

    /// The token that says `claims`. It names no key.
    pub fn sign(&self, claims: &Claims) -> String {
        self.sign_as(None, claims)
    }

    fn sign_as(&self, id: Option<&KeyId>, claims: &Claims) -> String {
        let payload = Payload {
            workspace: claims.workspace.clone(),
            user: claims.user.clone(),
            exp: claims.expires_at.0 / MS_PER_SECOND,
            nbf: None,
        };
        let payload = serde_json::to_vec(&payload).expect("two strings and a number are JSON");
        // An id has no character that JSON would escape.
        let kid = id.map(|id| format!(r#""kid":"{id}","#)).unwrap_or_default();
        let mut token = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256",{kid}"typ":"JWT"}}"#));
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.mac(&token).finalize().into_bytes();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        assert!(token.len() <= TOKEN_BYTES_MAX, "we signed a token that we would refuse");
        token
    }

    /// What `token` says, if it is signed with this key, whichever it names, and holds at `now`.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn verify(&self, token: &str, now: WallTime) -> Result<Claims, TokenError> {
        let token = SignedToken::parse(token)?;
        self.check(&token)?;
        token.claims(now)
    }

    fn check(&self, token: &SignedToken<'_>) -> Result<(), TokenError> {
        self.mac(token.signed).verify_slice(&token.signature).map_err(|_| TokenError::BadSignature)
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        self.0.clone().chain_update(signed)
    }
}

/// A token taken apart. Nothing of it is believed before a key has checked its signature.
struct SignedToken<'a> {
    /// What is signed: header and claims.
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    key: Option<KeyId>,
}

impl<'a> SignedToken<'a> {
    fn parse(token: &'a str) -> Result<Self, TokenError> {
        let malformed = |why| TokenError::Malformed { why };
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes: token.len() });
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed("it has no dots"))?;
        let (header, payload) =
            signed.split_once('.').ok_or(malformed("it has one dot, not two"))?;
        let header: Header = parse(header)
            .ok_or(malformed("its header is not base64url of JSON with a text `alg`"))?;
        if header.alg != "HS256" {
            return Err(TokenError::WrongAlgorithm);
        }
        if header.crit.is_some() {
            return Err(malformed("its header has `crit` demands, and none is supported"));
        }
        let key = header.kid.as_deref().map(KeyId::new).transpose();
        let key = key.map_err(|_| malformed("its `kid` is not the id of a key"))?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| malformed("its signature is not base64url without padding"))?;
        Ok(Self { signed, payload, signature, key })
    }

    /// What the token says at `now`, its signature being checked. Claims other than `workspace`,
    /// `user`, `exp` and `nbf` are ignored.
    fn claims(&self, now: WallTime) -> Result<Claims, TokenError> {
        let why = "its claims lack a sound `workspace`, `user` or `exp` (whole seconds since 1970), \
                   or have an `nbf` that is none";
        let Payload { workspace, user, exp, nbf } =
            parse(self.payload).ok_or(TokenError::Malformed { why })?;
        let expires_at = WallTime(exp.saturating_mul(MS_PER_SECOND));
        if now >= expires_at {
            let ago_seconds = (now.0 - expires_at.0) / MS_PER_SECOND;
            return Err(TokenError::Expired { ago_seconds });
        }
        let begins_at = nbf.unwrap_or_default().saturating_mul(MS_PER_SECOND);
        if now.0 < begins_at {
            let in_seconds = (begins_at - now.0).div_ceil(MS_PER_SECOND);
            return Err(TokenError::NotYetValid { in_seconds });
        }
        Ok(Claims { workspace, user, expires_at })
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(hidden)")
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    /// The id of the key that signed.
    kid: Option<String>,
    /// Extensions that a verifier must understand or else refuse the token (RFC 7515 §4.1.11).
    crit: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    workspace: WorkspaceId,
    user: UserId,
    /// Seconds since 1970.
    exp: u64,
    /// From when on the token holds, if not at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
}

fn parse<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const EXP_SECONDS: u64 = 1_700_000_000;

    /// Python's `hmac` made it from [`SECRET`] and `{"workspace":"acme","user":"ada","exp":…}`.
    const FROM_PYTHON: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
        eyJ3b3Jrc3BhY2UiOiJhY21lIiwidXNlciI6ImFkYSIsImV4cCI6MTcwMDAwMDAwMH0.\
        xYbzlV316LKxrMAUbNHaT4FIsCNQbvtXjFLpSVyF3PE";

    fn key() -> TokenKey {
        TokenKey::new(SECRET).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            workspace: WorkspaceId::new("acme").unwrap(),
            user: UserId::new("ada").unwrap(),
            expires_at: WallTime(EXP_SECONDS * 1_000),
        }
    }

    /// A moment at which [`claims`] holds.
    fn in_time() -> WallTime {
        WallTime(EXP_SECONDS * 1_000 - 1)
    }

    /// A token of any header and claims, properly signed.
    fn signed(header: &str, payload: &str) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = key().mac(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn malformed_why(token: &str) -> &'static str {
        match key().verify(token, in_time()) {
            Err(TokenError::Malformed { why }) => why,
            other => panic!("{other:?} for {token}"),
        }
    }

    #[test]
    fn token_is_the_one_that_another_implementation_makes() {
        assert_eq!(key().sign(&claims()), FROM_PYTHON);
        assert_eq!(key().verify(FROM_PYTHON, in_time()), Ok(claims()));
    }

    #[test]
    fn token_of_another_issuer_may_order_and_add_claims_as_it_likes() {
        let from_python = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6IjcifQ.\
            eyJpYXQiOiAxNjAwMDAwMDAwLCAiZXhwIjogMTcwMDAwMDAwMCwgInVzZXIiOiAiYWRhIiwgIndvcmtzcGFjZS\
            I6ICJhY21lIn0.9Kqp-l3dAzfF7Zd60TyoMuqHZiCHK0fCNQ8SoOk_7N0";
        assert_eq!(key().verify(from_python, in_time()), Ok(claims()));
    }

    #[test]
    fn signature_of_the_example_in_rfc_7515_is_accepted() {
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjA\
            zZr1Z9CAow";
        let rfc_key = TokenKey::new(&URL_SAFE_NO_PAD.decode(secret).unwrap()).unwrap();
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4\
            MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
            dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        // It names no workspace, which is looked at only once the signature holds.
        let error = rfc_key.verify(token, WallTime(0)).unwrap_err();
        assert!(matches!(error, TokenError::Malformed { why } if why.contains("claims")));
        assert_eq!(key().verify(token, WallTime(0)), Err(TokenError::BadSignature));
    }

    #[test]
    fn token_with_any_one_character_changed_is_refused() {
        for at in 0..FROM_PYTHON.len() {
            let mut bytes = FROM_PYTHON.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let tampered = String::from_utf8(bytes).unwrap();
            let result = key().verify(&tampered, in_time());
            assert!(
                matches!(
                    result,
                    Err(TokenError::BadSignature
                        | TokenError::Malformed { .. }
                        | TokenError::WrongAlgorithm)
                ),
                "{result:?} with character {at} changed"
            );
        }
    }

    #[test]
    fn claims_cannot_be_exchanged_under_a_signature() {
        let mut parts: Vec<&str> = FROM_PYTHON.split('.').collect();
        let eve = URL_SAFE_NO_PAD.encode(r#"{"workspace":"acme","user":"eve","exp":1700000000}"#);
        parts[1] = &eve;
        assert_eq!(key().verify(&parts.join("."), in_time()), Err(TokenError::BadSignature));
    }

    #[test]
    fn shortened_or_empty_signature_is_refused() {
        let (signed, signature) = FROM_PYTHON.rsplit_once('.').unwrap();
        for count in [0, 4, 40] {
            let token = format!("{signed}.{}", &signature[..count]);
            assert_eq!(key().verify(&token, in_time()), Err(TokenError::BadSignature), "{count}");
        }
    }

    #[test]
    fn token_of_another_secret_is_refused() {
        let other = TokenKey::new(&[7; 32]).unwrap().sign(&claims());
        assert_eq!(key().verify(&other, in_time()), Err(TokenError::BadSignature));
    }

    #[test]
    fn token_expires_at_its_very_millisecond() {
        let token = key().sign(&claims());
        let at = |offset_ms| key().verify(&token, WallTime(EXP_SECONDS * 1_000 + offset_ms));
        assert_eq!(key().verify(&token, in_time()), Ok(claims()));
        assert_eq!(at(0), Err(TokenError::Expired { ago_seconds: 0 }));
        assert_eq!(at(90_500), Err(TokenError::Expired { ago_seconds: 90 }));
    }

    #[test]
    fn token_holds_from_its_very_second_on() {
        let payload = |nbf: &str| {
            format!(r#"{{"workspace":"acme","user":"ada","exp":{EXP_SECONDS},"nbf":{nbf}}}"#)
        };
        let verify = |nbf: &str, now| {
            key().verify(&signed(r#"{"alg":"HS256"}"#, &payload(nbf)), WallTime(now))
        };
        assert_eq!(verify("1600000000", 1_600_000_000_000), Ok(claims()));
        let early = |in_seconds| Err(TokenError::NotYetValid { in_seconds });
        assert_eq!(verify("1600000000", 1_599_999_999_999), early(1));
        assert_eq!(verify("1600000000", 1_599_999_000_000), early(1_000));
        assert!(matches!(verify("-1", 0), Err(TokenError::Malformed { .. })));
    }

    #[test]
    fn a_key_id_must_be_sound() {
        let payload = r#"{"workspace":"acme","user":"ada","exp":1700000000}"#;
        for kid in ["", "a b", &"x".repeat(65)] {
            let token = signed(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), payload);
            assert!(malformed_why(&token).contains("kid"), "{kid:?}");
        }
    }

    #[test]
    fn expiry_is_rounded_down_to_the_second() {
        let token = key().sign(&Claims { expires_at: WallTime(9_999), ..claims() });
        assert_eq!(key().verify(&token, WallTime(0)).unwrap().expires_at, WallTime(9_000));
    }

    #[test]
    fn expiry_beyond_all_time_does_not_wrap_around() {
        let payload = format!(r#"{{"workspace":"a","user":"b","exp":{}}}"#, u64::MAX);
        let token = signed(r#"{"alg":"HS256"}"#, &payload);
        assert_eq!(key().verify(&token, in_time()).unwrap().expires_at, WallTime(u64::MAX));
    }

    #[test]
    fn every_algorithm_but_hs256_is_refused() {
        let payload = r#"{"workspace":"acme","user":"ada","exp":1700000000}"#;
        for alg in ["none", "None", "NONE", "", "hs256", "HS384", "HS512", "RS256", "HS256 "] {
            let token = signed(&format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#), payload);
            let wrong = Err(TokenError::WrongAlgorithm);
            assert_eq!(key().verify(&token, in_time()), wrong, "{alg:?}");
            let (unsigned, _) = token.rsplit_once('.').unwrap();
            assert_eq!(key().verify(&format!("{unsigned}."), in_time()), wrong, "{alg:?}");
        }
        assert!(malformed_why(&signed(r#"{"typ":"JWT"}"#, payload)).contains("header"));
        let critical = signed(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, payload);
        assert!(malformed_why(&critical).contains("crit"));
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        let parts: Vec<&str> = FROM_PYTHON.split('.').collect();
        let padded = format!("{FROM_PYTHON}=");
        let five = format!("{FROM_PYTHON}.x.y");
        for token in ["", "x", ".", "..", "a.b", "a.b.c", "é.é.é", parts[0], &padded, &five] {
            malformed_why(token);
        }
    }

    #[test]
    fn signed_claims_must_still_be_sound() {
        for payload in [
            "",
            "[]",
            r#"{"workspace":"acme","user":"ada"}"#,
            r#"{"workspace":"acme","exp":1700000000}"#,
            r#"{"user":"ada","exp":1700000000}"#,
            r#"{"workspace":"acme","user":"a b","exp":1700000000}"#,
            r#"{"workspace":"","user":"ada","exp":1700000000}"#,
            r#"{"workspace":"acme","user":"ada","exp":"1700000000"}"#,
            r#"{"workspace":"acme","user":"ada","exp":-1}"#,
            r#"{"workspace":"acme","user":"ada","exp":1700000000,"user":"eve"}"#,
        ] {
            let why = malformed_why(&signed(r#"{"alg":"HS256"}"#, payload));
            assert!(why.contains("claims"), "{why} for {payload}");
        }
    }

    #[test]
    fn token_over_the_limit_is_refused_unread() {
        let payload = |filler: usize| {
            let filler = "x".repeat(filler);
            format!(r#"{{"workspace":"acme","user":"ada","exp":1700000000,"x":"{filler}"}}"#)
        };
        let token = |filler| signed(r#"{"alg":"HS256"}"#, &payload(filler));
        assert_eq!(key().verify(&token(2_900), in_time()), Ok(claims()));
        let long = token(3_100);
        let error = TokenError::TooLong { bytes: long.len() };
        assert_eq!(key().verify(&long, in_time()), Err(error));
    }

    #[test]
    fn secret_is_long_and_stays_hidden() {
        let error = TokenKey::new(&SECRET[1..]).unwrap_err();
        assert_eq!(error, SecretTooShort { bytes: 31 });
        assert_eq!(format!("{:?}", key()), "TokenKey(hidden)");
    }
}
