//! Who may look into a node and steer it, and how much of it one answer shows.
//!
//! The secret is a deployment's own: whoever mints users' tokens need not be able to look into
//! everybody's workspaces. The node's HTTP routes ask [`AdminKey::check`] before anything else.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use crate::limits::{ADMIN_ROWS_MAX, SECRET_BYTES_MIN};
use crate::token::SecretTooShort;

/// The secret that admin requests carry. Its `Debug` does not show it.
#[derive(Clone)]
pub struct AdminKey {
    hash: Hmac<Sha256>,
    expected: Vec<u8>,
}

/// Why an admin request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(
        "this needs the header `Authorization: Bearer SECRET`, with the secret of the server's \
         admin.key"
    )]
    Missing,
    #[error("that is not the secret of this server's admin.key; read the file again")]
    Wrong,
}

impl Denied {
    /// The HTTP status to answer with.
    pub fn status(self) -> u16 {
        match self {
            Self::Missing => 401,
            Self::Wrong => 403,
        }
    }
}

impl AdminKey {
    /// A key from at least [`SECRET_BYTES_MIN`] bytes of secret; white space around it doesn't count.
    ///
    /// # Errors
    /// [`SecretTooShort`]
    pub fn new(secret: &str) -> Result<Self, SecretTooShort> {
        let secret = secret.trim().as_bytes();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SecretTooShort { bytes: secret.len() });
        }
        let hash: Hmac<Sha256> =
            Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        let expected = hash.clone().chain_update(secret).finalize().into_bytes().to_vec();
        Ok(Self { hash, expected })
    }

    /// Whether a request with this `Authorization` header is an operator's. Hashes are compared,
    /// in constant time: how long it takes tells nothing of the secret.
    ///
    /// # Errors
    /// [`Denied`]
    pub fn check(&self, authorization: Option<&str>) -> Result<(), Denied> {
        let (scheme, secret) =
            authorization.and_then(|header| header.split_once(' ')).ok_or(Denied::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Denied::Missing);
        }
        let given = self.hash.clone().chain_update(secret.trim());
        given.verify_slice(&self.expected).map_err(|_| Denied::Wrong)
    }
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminKey(hidden)")
    }
}

/// Which rows of a table an answer shows: at most so many of those after one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window<K> {
    pub after: Option<K>,
    rows_max: usize,
}

impl<K> Window<K> {
    /// `limit` is cut to [`ADMIN_ROWS_MAX`], which is also what no limit means.
    pub fn new(after: Option<K>, limit: Option<usize>) -> Self {
        Self { after, rows_max: limit.unwrap_or(ADMIN_ROWS_MAX).clamp(1, ADMIN_ROWS_MAX) }
    }

    /// The first rows of `rows`, which begin after [`Self::after`]. Not one more is made than is
    /// needed to know whether there are more.
    pub fn page<T>(&self, rows: impl Iterator<Item = T>, key: impl Fn(&T) -> K) -> Page<K, T> {
        let mut rows: Vec<T> = rows.take(self.rows_max + 1).collect();
        let more = rows.len() > self.rows_max;
        rows.truncate(self.rows_max);
        Page { next: rows.last().filter(|_| more).map(key), rows }
    }
}

/// Some rows of a table, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<K, T> {
    pub rows: Vec<T>,
    /// Ask for what comes after it; none: this is the end.
    pub next: Option<K>,
}

impl<K: Ord, T> Page<K, T> {
    /// One page of the rows that several machines have, of what each showed for the same window.
    pub fn merge(
        pages: impl IntoIterator<Item = Self>,
        window: &Window<K>,
        key: impl Fn(&T) -> K,
    ) -> Self {
        let mut rows = Vec::new();
        let mut next: Option<K> = None;
        for page in pages {
            rows.extend(page.rows);
            next = match (next, page.next) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        rows.sort_by_key(|row| key(row));
        if let Some(next) = &next {
            // Behind it, a machine may have rows that it did not show.
            rows.retain(|row| key(row) <= *next);
        }
        if rows.len() > window.rows_max {
            rows.truncate(window.rows_max);
            next = rows.last().map(key);
        }
        Self { rows, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn only_the_secret_itself_opens() {
        let key = AdminKey::new(&format!("{SECRET}\n")).unwrap();
        assert_eq!(key.check(Some(&format!("Bearer {SECRET}"))), Ok(()));
        assert_eq!(key.check(Some(&format!("bearer  {SECRET}"))), Ok(()));
        for missing in [None, Some(""), Some("Bearer"), Some(SECRET), Some("Basic Og==")] {
            assert_eq!(key.check(missing), Err(Denied::Missing), "{missing:?}");
        }
        let longer = format!("{SECRET}0");
        for wrong in ["", "x", &SECRET[1..], &longer, &SECRET.to_uppercase()] {
            let given = format!("Bearer {wrong}");
            assert_eq!(key.check(Some(&given)), Err(Denied::Wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused() {
        assert_eq!(AdminKey::new(" short\n").unwrap_err(), SecretTooShort { bytes: 5 });
    }

    #[test]
    fn a_page_says_whether_there_is_more_and_makes_no_more_than_it_must() {
        let page = |rows: u32, limit| Window::new(None, limit).page(0..rows, |row| *row);
        assert_eq!(page(3, Some(3)), Page { rows: vec![0, 1, 2], next: None });
        assert_eq!(page(4, Some(3)), Page { rows: vec![0, 1, 2], next: Some(2) });
        assert_eq!(page(0, Some(3)), Page { rows: vec![], next: None });
        assert_eq!(page(2, Some(0)).rows, [0], "a page without rows would never end");
        let all = page(u32::MAX, Some(usize::MAX));
        assert_eq!(all.rows.len(), ADMIN_ROWS_MAX);
    }

    #[test]
    fn pages_of_several_machines_make_one_that_skips_nothing() {
        let tables = [(0..40).step_by(2), (1..40).step_by(6), (3..6).step_by(2)];
        let key = |row: &usize| *row;
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let window = Window::new(after, Some(4));
            let from = |row: &usize| after.is_none_or(|after| *row > after);
            let pages = tables.clone().map(|table| window.page(table.filter(from), key));
            let page = Page::merge(pages, &window, key);
            assert!(page.rows.len() <= 4);
            seen.extend(page.rows);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let mut all: Vec<usize> = tables.into_iter().flatten().collect();
        all.sort_unstable();
        assert_eq!(seen, all);
    }

    #[test]
    fn what_a_short_page_may_have_left_out_is_not_skipped() {
        let short = Page { rows: vec![1], next: Some(1) };
        let whole = Page { rows: vec![0, 3], next: None };
        let merged = Page::merge([short, whole], &Window::new(None, None), |row| *row);
        assert_eq!(merged, Page { rows: vec![0, 1], next: Some(1) });
    }
}
