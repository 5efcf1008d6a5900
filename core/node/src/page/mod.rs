//! The chat page: a small client of the protocol that the server carries in itself.
//!
//! Static files without a framework, a build step or a request to anywhere else. What they may do
//! is written in [`HEADERS`]: the browser refuses everything that doesn't come from this server.

use bytes::Bytes;

use seriatim_engine::handshake::Response;

struct File {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// What every file is sent with. No inline script or style, nothing from elsewhere, no form that
/// leaves, no frame around it; the address, whose fragment may hold a token, is told to nobody.
const HEADERS: &[(&str, &str)] = &[
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    // A new server brings a new page.
    ("Cache-Control", "no-cache"),
];

const FILES: &[File] = &[
    File { path: "/", content_type: HTML, body: include_str!("index.html") },
    File { path: "/page/style.css", content_type: CSS, body: include_str!("style.css") },
    File { path: "/page/app.js", content_type: JAVASCRIPT, body: include_str!("app.js") },
    File { path: "/page/browse.js", content_type: JAVASCRIPT, body: include_str!("browse.js") },
    File { path: "/page/client.js", content_type: JAVASCRIPT, body: include_str!("client.js") },
    File { path: "/page/log.js", content_type: JAVASCRIPT, body: include_str!("log.js") },
    File { path: "/page/people.js", content_type: JAVASCRIPT, body: include_str!("people.js") },
    File { path: "/page/room.js", content_type: JAVASCRIPT, body: include_str!("room.js") },
    File {
        path: "/page/transport.js",
        content_type: JAVASCRIPT,
        body: include_str!("transport.js"),
    },
    File { path: "/page/icon.svg", content_type: SVG, body: include_str!("icon.svg") },
];

/// The file at `path`, if it is one of the page's.
pub(crate) fn answer(path: &str) -> Option<Response> {
    let file = FILES.iter().find(|file| file.path == path)?;
    let body = Bytes::from_static(file.body.as_bytes());
    let response = Response::new(200, file.content_type, body);
    Some(HEADERS.iter().fold(response, |answer, (name, value)| answer.with_header(name, *value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let mut named = 0;
        for file in FILES {
            let folder = if file.path == "/" { "/" } else { "/page/" };
            for quote in ["src=\"", "href=\"", "from \"./"] {
                for after in file.body.split(quote).skip(1) {
                    let name = after.split('"').next().unwrap();
                    let path = format!("{folder}{name}");
                    assert!(answer(&path).is_some(), "{} names {path}", file.path);
                    named += 1;
                }
            }
        }
        assert!(named >= FILES.len(), "only {named} references were found");
    }

    #[test]
    fn nothing_that_people_write_can_become_markup() {
        let sinks = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("];
        for file in FILES {
            for sink in sinks {
                assert!(!file.body.contains(sink), "{} uses {sink}", file.path);
            }
        }
    }
}
