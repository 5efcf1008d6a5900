//! Decides which web pages may open a WebSocket.
//!
//! A browser lets any page connect to any server, and says in `Origin` whose page it is (RFC 6454).
//! A page that was loaded from the very host that it connects to is welcome, and so is one whose
//! origin the operator has listed. Programs that are no browsers send no `Origin` and say who they
//! are by their token alone.

use std::fmt;
use std::str::FromStr;

use super::{Refusal, Request};

/// A page's origin, with the port left out where it is the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    /// Host and port.
    authority: String,
}

/// Why a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an origin; give scheme, host and port as in https://chat.example.org:8443"
)]
pub struct NotAnOrigin {
    text: String,
}

/// The origins that the operator has listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Vec<Origin>);

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let lower = text.to_ascii_lowercase();
        let parts = lower.split_once("://").filter(|(scheme, authority)| {
            let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            let in_authority = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
            !scheme.is_empty()
                && scheme.bytes().all(in_scheme)
                && !authority.is_empty()
                && authority.bytes().all(in_authority)
        });
        let (scheme, authority) = parts.ok_or_else(|| NotAnOrigin { text: text.to_owned() })?;
        let authority = without_default_port(scheme, authority).to_owned();
        Ok(Self { scheme: scheme.to_owned(), authority })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

impl AllowedOrigins {
    pub fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// Whether the page that makes `request`, if it is one, may connect.
    ///
    /// # Errors
    /// It may not; the refusal is a 403.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        let Some(text) = &request.origin else { return Ok(()) };
        // A sandboxed page or one from a file has the origin "null", which parses as none.
        let origin: Option<Origin> = text.parse().ok();
        if let Some(origin) = &origin
            && (origin.is_of(request.host.as_deref()) || self.0.contains(origin))
        {
            return Ok(());
        }
        let remedy = match origin {
            Some(origin) => format!(", or start the server with --allow-origin {origin}"),
            None => String::new(),
        };
        let body = format!(
            "a page of the origin {text:?} may not connect; open a page of this host{remedy}"
        );
        Err(Refusal { status: 403, headers: &[], body })
    }
}

impl Origin {
    /// Whether the page came from the host to which its request goes. A `Host` header has no
    /// scheme: behind a proxy that ends TLS, the page's is https and ours is http.
    fn is_of(&self, host: Option<&str>) -> bool {
        let host = host.unwrap_or_default().to_ascii_lowercase();
        matches!(&*self.scheme, "http" | "https")
            && without_default_port(&self.scheme, &host) == self.authority
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Parsed, parse_request};
    use super::*;

    fn request(host: &str, origin: Option<&str>) -> Request {
        let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
        let text = format!("GET /v1/ws HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n");
        match parse_request(text.as_bytes()) {
            Ok(Parsed::Complete { value, .. }) => value,
            other => panic!("{other:?}"),
        }
    }

    fn listed(origins: &[&str]) -> AllowedOrigins {
        AllowedOrigins::new(origins.iter().map(|origin| origin.parse().unwrap()).collect())
    }

    #[test]
    fn a_page_of_the_same_host_may_connect() {
        for (host, origin) in [
            ("localhost:7400", "http://localhost:7400"),
            ("Chat.Example.org", "https://chat.example.ORG"),
            ("chat.example.org", "http://chat.example.org:80"),
            ("chat.example.org:443", "https://chat.example.org"),
            ("[::1]:7400", "http://[::1]:7400"),
        ] {
            let answer = AllowedOrigins::default().check(&request(host, Some(origin)));
            assert_eq!(answer, Ok(()), "{origin} at {host}");
        }
    }

    #[test]
    fn a_program_that_is_no_browser_may_connect() {
        assert_eq!(AllowedOrigins::default().check(&request("here:7400", None)), Ok(()));
    }

    #[test]
    fn a_page_of_another_origin_is_refused_unless_it_is_listed() {
        let allowed = listed(&["https://chat.example.org:8443", "app://seriatim"]);
        for origin in ["https://chat.example.org:8443", "HTTPS://Chat.example.org:8443"] {
            assert_eq!(allowed.check(&request("here:7400", Some(origin))), Ok(()), "{origin}");
        }
        assert_eq!(allowed.check(&request("here:7400", Some("app://seriatim"))), Ok(()));
        for origin in [
            "https://evil.example",
            "http://chat.example.org:8443",
            "https://chat.example.org",
            "https://chat.example.org:8443.evil.example",
            "https://chat.example.org:84433",
            "http://here",
            "http://here:7400.evil.example",
            "http://evil.example/here:7400",
            "ftp://here:7400",
            "null",
            "",
            "here:7400",
            "https://evil.example, http://here:7400",
        ] {
            let refusal = allowed.check(&request("here:7400", Some(origin))).unwrap_err();
            assert_eq!(refusal.status, 403, "{origin}");
            assert!(refusal.body.contains("may not connect"), "{}", refusal.body);
        }
    }

    #[test]
    fn the_refusal_names_the_flag_that_would_help() {
        let refuse = |origin| {
            let request = request("here:7400", Some(origin));
            AllowedOrigins::default().check(&request).unwrap_err().body
        };
        assert!(refuse("https://a.example:443").contains("--allow-origin https://a.example"));
        assert!(!refuse("null").contains("--allow-origin"));
    }

    #[test]
    fn no_page_is_of_a_host_that_is_not_named() {
        let mut request = request("here", Some("http://here"));
        request.host = None;
        assert_eq!(AllowedOrigins::default().check(&request).unwrap_err().status, 403);
    }

    #[test]
    fn what_is_no_origin_is_refused_with_an_example() {
        for text in ["", "*", "null", "chat.example.org", "https://", "https://a/b", "a b://c"] {
            let error = text.parse::<Origin>().unwrap_err();
            assert!(error.to_string().contains("https://chat.example.org:8443"), "{error}");
        }
    }
}
