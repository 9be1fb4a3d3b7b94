//! A run's result: a table for people, JSON for programs.

use std::path::Path;

use serde::Serialize;

use super::Trouble;
use super::table::Table;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::perf::url::Url;

/// A run as JSON has it: what was asked for, and beside it all that was found.
#[derive(Debug, Serialize)]
struct Document<'a, P, R> {
    command: &'a str,
    /// That of the load generator.
    version: &'a str,
    /// Without user and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    parameters: &'a P,
    #[serde(flatten)]
    report: &'a R,
}

/// Prints the table, and writes the JSON to the file if there is one, or prints it alone if that is `-`.
pub(super) fn show<P: Serialize, R: Serialize>(
    command: &str,
    url: Option<&Url>,
    (parameters, report): (&P, &R),
    table: &Table,
    json: Option<&Path>,
) -> Result<(), Trouble> {
    let version = env!("CARGO_PKG_VERSION");
    let url = url.map(Url::to_string);
    let document = Document { command, version, url, parameters, report };
    let text = |document: &Document<'_, P, R>| -> Result<String, Failure> {
        let text = serde_json::to_string_pretty(document);
        text.map(|text| text + "\n").map_err(|error| Failure::Output(error.into()))
    };
    match json {
        Some(path) if path == Path::new("-") => return Ok(print(&text(&document)?)?),
        Some(path) => {
            let failed = |error| Failure::File { path: path.to_owned(), error };
            std::fs::write(path, text(&document)?).map_err(failed)?;
        }
        None => {}
    }
    Ok(print(&table.text())?)
}
