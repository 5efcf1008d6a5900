//! Text within XML and HTML.

use std::fmt;

/// `text` with everything escaped that markup would take for itself, in content and in quoted
/// attributes. Characters that XML cannot hold become U+FFFD.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(character)?,
                '\u{fffe}' | '\u{ffff}' => f.write_char(char::REPLACEMENT_CHARACTER)?,
                control if control.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_markup_takes_for_itself_is_left() {
        let escaped = Escaped("<a href=\"x\">'&\u{1}\u{ffff}\n").to_string();
        assert_eq!(escaped, "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}\u{fffd}\n");
    }
}
