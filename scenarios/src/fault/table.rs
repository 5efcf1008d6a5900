//! The kinds of faults as a table for people: docs/scenarios.md holds it, `cargo sim faults`
//! prints it.

use std::fmt::Write as _;

use super::kinds::FaultKind;
use super::spec::{Knob, Lasting, Values};

/// Every kind, in Markdown: the table of docs/scenarios.md.
pub fn markdown() -> String {
    let mut text =
        "| kind | does | targets | keys | on real processes |\n|---|---|---|---|---|\n".to_owned();
    for kind in FaultKind::ALL {
        let spec = kind.spec();
        let targets: Vec<String> =
            spec.aims.iter().map(|aim| aim.example().replace('"', "`")).collect();
        let keys: Vec<String> = lasting(spec.lasting)
            .into_iter()
            .map(str::to_owned)
            .chain(spec.knobs.iter().map(knob))
            .collect();
        let keys = if keys.is_empty() { "–".to_owned() } else { keys.join("; ") };
        let row = [
            format!("`{kind}`"),
            spec.does.to_owned(),
            targets.join(", "),
            keys,
            spec.real.unwrap_or("–").to_owned(),
        ];
        writeln!(text, "| {} |", row.join(" | ")).expect("writing to a string cannot fail");
    }
    text
}

/// Every kind, for a terminal.
pub fn plain() -> String {
    let mut text = String::new();
    for kind in FaultKind::ALL {
        let spec = kind.spec();
        let real = spec.real.unwrap_or("cannot be given");
        let mut lines = vec![format!("{kind}"), format!("    {}", spec.does)];
        lines.push(format!("    target: {}", kind.targets()));
        let keys = lasting(spec.lasting).into_iter().map(str::to_owned);
        lines.extend(
            keys.chain(spec.knobs.iter().map(knob))
                .map(|key| format!("    {}", key.replace('`', ""))),
        );
        lines.push(format!("    on real processes: {real}"));
        writeln!(text, "{}\n", lines.join("\n")).expect("writing to a string cannot fail");
    }
    text
}

fn lasting(lasting: Lasting) -> Option<&'static str> {
    (lasting == Lasting::For).then_some("`for_s`: how long it lasts")
}

fn knob(knob: &Knob) -> String {
    let Knob { key, about, values } = knob;
    match values {
        Values::Number { min, max, default: (from, to) } => {
            format!("`{key}`: {about}, {min} to {max} (drawn from {from} to {to})")
        }
        Values::Word { words, default } => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("`{key}`: {about}, {} (\"{default}\")", words.join(" or "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_table_as_it_is() {
        let document = include_str!("../../../docs/scenarios.md");
        assert!(
            document.contains(&markdown()),
            "docs/scenarios.md has another table: put in what `cargo sim faults --markdown` prints"
        );
        assert!(FaultKind::ALL.iter().all(|kind| plain().contains(&format!("{kind}\n    "))));
    }
}
