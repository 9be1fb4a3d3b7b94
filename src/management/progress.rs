//! Answers to what takes long: lines of JSON that say how far it is, and a last one that says how it ended.
//!
//! ```text
//! {"done":1048576,"of":52428800}
//! {"ok":{"files":3,"bytes":52428800}}        or        {"error":"there is no room"}
//! ```
//!
//! A client that goes away ends what it asked for, and so does the end of the server.

use std::time::Duration;

use serde_json::{Value, json};

use crate::management::answer::{Answer, Sink};

/// How often progress is told, as a sign of life.
pub const PROGRESS: Duration = Duration::from_millis(500);

/// An answer that `work` writes the lines of.
pub(super) fn answer(work: impl FnOnce(&mut Sink) -> Result<Value, String> + Send + 'static) -> Answer {
    let write = |sink: &mut Sink| {
        let last = match work(sink) {
            Ok(value) => json!({ "ok": value }),
            Err(text) => json!({ "error": text }),
        };
        line(sink, &last);
    };
    Answer::Stream("application/x-ndjson", Box::new(write))
}

/// Tells how far it is. Returns whether anybody still listens.
pub(super) fn tell(sink: &mut Sink, done: u64, of: u64) -> bool {
    line(sink, &json!({ "done": done, "of": of }));
    sink.is_open()
}

fn line(sink: &mut Sink, value: &Value) {
    sink.value(value);
    sink.text("\n");
    sink.flush();
}
