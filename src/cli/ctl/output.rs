//! Lists as people and programs want them.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::USAGE;
use super::broker::Broker;
use super::options::{Format, Options};
use crate::cli::failure::Failure;
use crate::cli::print;

/// A column: its name, and where its value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    name: &'static str,
    from: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A place in a row of the API, as keys with dots between them.
    Row(&'static str),
    /// It is the same in all rows.
    Always(&'static str),
}

impl Column {
    /// One that is called as in the API.
    pub(super) const fn same(name: &'static str) -> Self {
        Self::of(name, name)
    }

    /// One that has another name there.
    pub(super) const fn of(name: &'static str, from: &'static str) -> Self {
        Self { name, from: Origin::Row(from) }
    }

    /// One that the API does not have, since there is only one value.
    pub(super) const fn always(name: &'static str, value: &'static str) -> Self {
        Self { name, from: Origin::Always(value) }
    }

    /// Where it is in a row of the API.
    pub(super) fn place(&self) -> Option<&'static str> {
        match self.from {
            Origin::Row(place) => Some(place),
            Origin::Always(_) => None,
        }
    }

    fn value(self, row: &Value) -> Value {
        match self.from {
            Origin::Row(place) => {
                place.split('.').try_fold(row, |value, key| value.get(key)).cloned().unwrap_or_default()
            }
            Origin::Always(value) => value.into(),
        }
    }
}

/// The columns that are called like this.
///
/// # Errors
/// If there is one of them not.
pub(super) fn chosen(known: &[Column], names: &[String]) -> Result<Vec<Column>, Failure> {
    let find = |name: &String| {
        known.iter().find(|column| column.name == name).copied().ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|column| column.name).collect();
            let text = format!("there is no column {name:?}; there are {}", names.join(", "));
            Failure::RefusedAs { code: USAGE, text }
        })
    };
    // As with RabbitMQ's tool they may come in one word.
    let words = names.iter().flat_map(|words| words.split([' ', ',']).map(str::to_owned));
    words.filter(|name| !name.is_empty()).map(|name| find(&name)).collect()
}

/// Words of a script, some of which have nothing in them.
pub(super) fn without_empty(words: &[String]) -> Vec<String> {
    words.iter().filter(|word| !word.is_empty()).cloned().collect()
}

impl Broker<'_> {
    /// Prints a list. JSON has the same columns.
    pub(super) fn show(&self, list: &Value, columns: &[Column]) -> Result<(), Failure> {
        print(&rendered(list, columns, self.options))
    }

    /// Prints a list, with all that the rows have as JSON.
    pub(super) fn show_all(&self, list: &Value, columns: &[Column]) -> Result<(), Failure> {
        if self.options.format() == Format::Json {
            return print(&format!("{list:#}\n"));
        }
        self.show(list, columns)
    }

    /// Prints that something is well, or an object that says more.
    pub(super) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.options.is_silent() { Ok(()) } else { print(&format!("{text}\n")) }
    }
}

fn rendered(list: &Value, columns: &[Column], options: &Options) -> String {
    let rows = list.as_array().map(Vec::as_slice).unwrap_or_default();
    match options.format() {
        Format::Json => {
            let object = |row: &Value| {
                let cell = |column: &Column| (column.name.to_owned(), column.value(row));
                Value::Object(columns.iter().map(cell).collect::<Map<_, _>>())
            };
            format!("{:#}\n", Value::Array(rows.iter().map(object).collect()))
        }
        format => {
            let names = columns.iter().map(|column| column.name.to_owned()).collect();
            let head = options.has_headers().then_some(names);
            let of_row = |row: &Value| columns.iter().map(|column| cell(&column.value(row))).collect();
            let rows: Vec<Vec<String>> = head.into_iter().chain(rows.iter().map(of_row)).collect();
            match format {
                Format::Csv => {
                    rows.iter().map(|row| joined(row.iter().map(|cell| quoted(cell)), ",")).collect()
                }
                Format::PrettyTable => boxed(&rows, options.has_headers()),
                _ => rows.iter().map(|row| joined(row.iter().cloned(), "\t")).collect(),
            }
        }
    }
}

fn joined(cells: impl Iterator<Item = String>, between: &str) -> String {
    let mut line = cells.collect::<Vec<_>>().join(between);
    line.push('\n');
    line
}

/// A value as a cell: what is no letter is written as an escape, so that a line stays a line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.escape_debug().to_string(),
        Value::Array(words) if words.iter().all(Value::is_string) => bracketed(words),
        other => other.to_string(),
    }
}

/// A list of words as RabbitMQ's tool prints it.
fn bracketed(words: &[Value]) -> String {
    let words = words.iter().filter_map(Value::as_str).map(|word| word.escape_debug().to_string());
    format!("[{}]", words.collect::<Vec<_>>().join(", "))
}

/// A cell of CSV.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// Rows in boxes, of which the first may be names.
fn boxed(rows: &[Vec<String>], has_head: bool) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let rule = |left: char, cross: &str, right: char| {
        let parts: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", parts.join(cross))
    };
    let mut text = rule('┌', "┬", '┐');
    for (at, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            // It cannot fail to be written to memory.
            let _ = write!(text, "│ {cell}{} ", " ".repeat(width - cell.chars().count()));
        }
        text.push_str("│\n");
        if at == 0 && has_head && rows.len() > 1 {
            text.push_str(&rule('├', "┼", '┤'));
        }
    }
    text.push_str(&rule('└', "┴", '┘'));
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn shown(flags: &str, list: &Value) -> String {
        let columns = [Column::same("name"), Column::of("size", "stats.size"), Column::same("tags")];
        let line = Line::parse_from(std::iter::once("ctl").chain(flags.split_whitespace()));
        rendered(list, &columns, &line.options)
    }

    #[test]
    fn lists_look_as_is_wanted() {
        let list = json!([
            { "name": "a\tb", "stats": { "size": 1 }, "tags": ["x", "y"], "more": 1 },
            { "name": "c,\u{fc}", "tags": [] },
        ]);
        assert_eq!(shown("", &list), "name\tsize\ttags\na\\tb\t1\t[x, y]\nc,ü\t\t[]\n");
        assert_eq!(shown("-s", &list), "a\\tb\t1\t[x, y]\nc,ü\t\t[]\n");
        assert_eq!(shown("-q --no-table-headers", &list), shown("-s", &list));
        assert_eq!(shown("--formatter csv", &list), "name,size,tags\na\\tb,1,\"[x, y]\"\n\"c,ü\",,[]\n");
        let parsed: Value = serde_json::from_str(&shown("--json", &list)).unwrap();
        assert_eq!(
            parsed,
            json!([
                { "name": "a\tb", "size": 1, "tags": ["x", "y"] },
                { "name": "c,\u{fc}", "size": null, "tags": [] },
            ])
        );
        assert_eq!(shown("--formatter json", &json!([])), "[]\n");
        let boxes = "\
┌──────┬──────┬────────┐
│ name │ size │ tags   │
├──────┼──────┼────────┤
│ a\\tb │ 1    │ [x, y] │
│ c,ü  │      │ []     │
└──────┴──────┴────────┘
";
        assert_eq!(shown("--formatter pretty_table", &list), boxes);
    }

    #[test]
    fn columns_are_chosen_by_name() {
        let known = [Column::same("a"), Column::same("b"), Column::same("c")];
        let choose = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&known, &names).map(|columns| columns.iter().map(|column| column.name).collect::<Vec<_>>())
        };
        assert_eq!(choose(&["b", "a"]).unwrap(), ["b", "a"]);
        assert_eq!(choose(&["a b", "c,a"]).unwrap(), ["a", "b", "c", "a"]);
        let Err(Failure::RefusedAs { code: USAGE, text }) = choose(&["x"]) else { panic!() };
        assert_eq!(text, "there is no column \"x\"; there are a, b, c");
    }
}
