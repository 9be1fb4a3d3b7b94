//! Holds docs/configuration.md to the option table: each option has one row there, in the order of the table and
//! with the same text. After a change of the table the failing test says which rows belong into the document.

use leveret::config::{Effect, OptionRow, Options, TABLE};

const DOCUMENT: &str = include_str!("../docs/configuration.md");

/// The row of an option: name, variable, what it takes, default, when a change takes effect, meaning.
fn rendered(row: &OptionRow) -> String {
    let default = (row.show)(&Options::default());
    // The table masks secrets; the default password is none, and the document has to name it.
    let default = if row.name == "auth.default_pass" { "\"guest\"".to_owned() } else { default.to_string() };
    let effect = match row.effect {
        Effect::Reload => "reload",
        Effect::Restart => "restart",
    };
    let cells = [
        format!("`{}`", row.name),
        format!("`{}`", row.variable()),
        cell(&(row.expected)()),
        format!("`{default}`"),
        effect.to_owned(),
        cell(&row.doc.concat()),
    ];
    format!("| {} |", cells.join(" | "))
}

/// A text as a cell of a table may hold it.
fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|").replace('<', "&lt;")
}

/// The rows of options in the document; other tables have other rows.
fn documented() -> Vec<&'static str> {
    DOCUMENT.lines().filter(|line| line.starts_with("| `") && line.contains(" | `LEVERET_")).collect()
}

#[test]
fn every_option_has_its_row_in_the_documentation() {
    let expected: Vec<String> = TABLE.iter().map(rendered).collect();
    let documented = documented();
    let missing: Vec<&str> =
        expected.iter().map(String::as_str).filter(|row| !documented.contains(row)).collect();
    let extra: Vec<&str> =
        documented.iter().copied().filter(|row| !expected.iter().any(|known| known == row)).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "rows that docs/configuration.md lacks:\n{}\nrows that are not in the option table:\n{}",
        missing.join("\n"),
        extra.join("\n")
    );
    assert_eq!(documented, expected, "the rows are in another order than the table, or twice");
}

#[test]
fn every_section_has_a_heading() {
    for row in TABLE {
        let heading = format!("\n## `[{}]`\n", row.split().0);
        assert!(DOCUMENT.contains(&heading), "docs/configuration.md lacks the heading{heading}");
    }
}
