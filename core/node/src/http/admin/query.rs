//! What an admin request asks for, in its path and behind the `?`.

use std::collections::BTreeMap;

use seriatim_engine::admin::Window;
use seriatim_engine::handshake::{Request, Response};
use seriatim_engine::ids::NameError;

/// The parameters of a request: `name=value`, joined by `&`. Nothing in them needs an escape.
pub(super) struct Query<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Query<'a> {
    /// Parameters with one of `known` names, each once; others are refused.
    pub(super) fn parse(request: &'a Request, known: &[&str]) -> Result<Self, Response> {
        let mut parameters = BTreeMap::new();
        let query = request.query.as_deref().unwrap_or_default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if !known.contains(&name) {
                let known = known.join(", ");
                return Err(bad(&format!("there is no parameter {name}; known here: {known}")));
            }
            if parameters.insert(name, value).is_some() {
                return Err(bad(&format!("the parameter {name} is there twice")));
            }
        }
        Ok(Self(parameters))
    }

    /// The window that `after` and `limit` ask for.
    pub(super) fn window<K>(
        &self,
        parse: impl FnOnce(&str) -> Result<K, Response>,
    ) -> Result<Window<K>, Response> {
        let after = self.0.get("after").map(|after| parse(after)).transpose()?;
        let limit = self.0.get("limit").map(|limit| number("limit", limit)).transpose()?;
        Ok(Window::new(after, limit))
    }

    pub(super) fn get<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Response>,
    ) -> Result<Option<T>, Response> {
        self.0.get(name).map(|value| parse(value)).transpose()
    }
}

/// A whole number.
pub(super) fn number<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Response> {
    text.parse().map_err(|_| bad(&format!("{what} {text:?} is not a whole number in range")))
}

/// A name, by its type's own constructor.
pub(super) fn name<T>(
    what: &str,
    text: &str,
    new: impl FnOnce(&str) -> Result<T, NameError>,
) -> Result<T, Response> {
    new(text).map_err(|error| bad(&format!("{what} {error}")))
}

pub(super) fn bad(message: &str) -> Response {
    Response::text(400, message)
}
