//! Messages of a queue, taken or looked at.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::broker::outlet::Outlet;
use crate::broker::queue_cell::{GetResult, QueueCell};
use crate::broker::totals::{Event, Tally};
use crate::broker::vhost::{RouteScratch, VHost};
use crate::identity::operation::Operation;
use crate::management::answer::Answer;
use crate::management::body::{Object, missing};
use crate::management::call::Call;
use crate::management::error::ApiError;
use crate::management::properties;
use crate::management::resources::publish::origin;
use crate::management::resources::queues;
use crate::management::resources::queues::NOBODY;
use crate::management::routes::{InVHost, Resource, post};
use crate::management::visitor::Level;
use crate::message::MessageBuilder;
use crate::protocol::properties::Properties;
use crate::queue::arguments::QueueKind;
use crate::queue::rules::Traits;
use crate::queue::{Got, Settle};

/// How long taking the messages of an answer may take. Those that were taken till then are answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of the answer, and of the messages in it, after which no more are taken: an answer does not take all memory there is.
const MOST_BYTES: usize = 32 << 20;

/// See the module.
pub(crate) fn routes() -> Vec<Resource> {
    let get = post(Level::Management, get).in_vhost(InVHost::Enters);
    vec![Resource::new("/queues/{vhost}/{queue}/get", [get])]
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wanted {
    /// Most messages; `None` is all there are.
    count: Option<u64>,
    settle: Settle,
    /// Whether text may be text.
    has_text: bool,
    /// Most bytes of each body.
    truncate: Option<usize>,
}

impl Wanted {
    fn of(body: &Object) -> Result<Self, ApiError> {
        let count = u64::try_from(body.integer("count")?).ok();
        let settle = match body.optional_text("ackmode")? {
            Some("ack_requeue_true") => Settle::Requeue,
            Some("ack_requeue_false") => Settle::Ack,
            // As by basic.reject: whoever looked at it has failed.
            Some("reject_requeue_true") => Settle::Fail,
            Some("reject_requeue_false") => Settle::Reject,
            Some(other) => {
                return Err(ApiError::bad(format!(
                    "Unsupported ackmode {other}. Please use ack_requeue_true, ack_requeue_false, \
                     reject_requeue_true or reject_requeue_false."
                )));
            }
            // What versions before 3.7 were asked with.
            None => match body.flag("requeue")? {
                Some(true) => Settle::Requeue,
                Some(false) => Settle::Ack,
                None => return Err(missing("ackmode")),
            },
        };
        let has_text = match body.text("encoding")? {
            "auto" => true,
            "base64" => false,
            _ => return Err(ApiError::bad("Unsupported encoding. Please use auto or base64.")),
        };
        let truncate = match body.get("truncate") {
            None | Some(Value::Null) => None,
            Some(_) => usize::try_from(body.integer("truncate")?).ok(),
        };
        Ok(Self { count, settle, has_text, truncate })
    }
}

fn get(call: &Call) -> Result<Answer, ApiError> {
    let wanted = Wanted::of(&call.object()?)?;
    let (vhost, cell) = queues::found(call)?;
    let name = &cell.spec.name;
    call.check(&vhost, Operation::TakeFrom(name))?;
    vhost.find_queue(name, NOBODY)?;
    let Traits { kind, single_active, .. } = cell.traits();
    if kind == QueueKind::Quorum && single_active {
        let text = "basic.get operations are not supported by quorum queues with single active consumer";
        return Err(ApiError::bad(format!("cannot obtain access to locked queue '{name}': {text}")));
    }
    let Taken { got, rows, error } = take(call, &vhost, &cell, wanted);
    // Together, and last: who takes them one by one and puts them back gets the same one each time. What is put back because
    // of an error is as if nobody had seen it.
    if error.is_none() {
        count(&vhost, &got, wanted);
    }
    if error.is_none() && vhost.is_traced() {
        let (mut builder, mut scratch) = (MessageBuilder::default(), RouteScratch::new());
        builder.set_time((call.api.clock)().unix_ms);
        for Got { message, redelivered, .. } in &got {
            vhost.trace_delivery(origin(call), name, (message, *redelivered), &mut builder, &mut scratch);
        }
    }
    let how = if error.is_some() { Settle::Unsent } else { wanted.settle };
    cell.settle(None, got.iter().map(|got| got.position), how);
    vhost.move_letters();
    match error {
        None => Ok(Answer::Text("application/json", rows.finish())),
        Some(error) => Err(error),
    }
}

/// Counts messages for the vhost.
fn count(vhost: &VHost, got: &[Got], wanted: Wanted) {
    let mut tally = Tally::default();
    let number = got.len() as u64;
    tally.count(Event::GotManualAck, number);
    tally.count(Event::Redelivered, got.iter().filter(|got| got.redelivered).count() as u64);
    if wanted.settle == Settle::Ack {
        tally.count(Event::Acknowledged, number);
    }
    if got.is_empty() && wanted.count != Some(0) {
        tally.count(Event::GetEmpty, 1);
    }
    vhost.totals.take(&mut tally, NOBODY);
}

/// Messages that were taken, and what went wrong then.
struct Taken {
    got: Vec<Got>,
    rows: Written,
    error: Option<ApiError>,
}

/// A list in JSON, row by row. Values take many times the room of what is written.
struct Written {
    text: String,
    /// Bytes of the messages whose rows it has.
    of_messages: usize,
}

impl Written {
    fn new() -> Self {
        Self { text: "[".to_owned(), of_messages: 0 }
    }

    fn add(&mut self, got: &Got, wanted: Wanted) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text.push_str(&described(got, wanted).to_string());
        self.of_messages += got.message.wire_size();
    }

    /// Whether nothing more is to be added.
    fn is_full(&self) -> bool {
        self.text.len().max(self.of_messages) >= MOST_BYTES
    }

    fn finish(mut self) -> String {
        self.text.push(']');
        self.text
    }
}

fn take(call: &Call, vhost: &VHost, cell: &QueueCell, wanted: Wanted) -> Taken {
    let outlet = Outlet::new();
    // Known before a queue is asked, so that it is woken whenever the message comes.
    outlet.register(&Waker::from(Arc::new(Unpark(std::thread::current()))));
    let now = || (call.api.clock)().moment;
    let deadline = now().after(PATIENCE);
    let mut taken = Taken { got: Vec::new(), rows: Written::new(), error: None };
    while wanted.count.is_none_or(|count| (taken.got.len() as u64) < count) && !taken.rows.is_full() {
        let is_late = now() >= deadline;
        if is_late && !taken.got.is_empty() {
            break;
        }
        match cell.get(false, &outlet) {
            GetResult::Got(got) => {
                taken.rows.add(&got, wanted);
                taken.got.push(got);
            }
            GetResult::Empty => break,
            GetResult::Gone => {
                taken.error = Some(vhost.no_queue(&cell.spec.name).into());
                break;
            }
            GetResult::Absent if is_late => {
                taken.error =
                    Some(ApiError::Unavailable("a message is not read from the disk in time".to_owned()));
                break;
            }
            GetResult::Absent => std::thread::park_timeout(Duration::from_millis(100)),
        }
    }
    taken
}

/// Wakes a thread that waits for a message.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn described(got: &Got, wanted: Wanted) -> Value {
    let Got { message, redelivered, remaining, .. } = got;
    let body = message.body();
    let (payload, encoding) =
        encoded(&body[..wanted.truncate.unwrap_or(body.len()).min(body.len())], wanted.has_text);
    json!({
        "payload_bytes": message.body_len(),
        "redelivered": redelivered,
        "exchange": message.exchange(),
        "routing_key": message.routing_key(),
        "message_count": remaining,
        "properties": properties::to_json(Properties::assume_valid(message.raw_properties())),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

fn encoded(body: &[u8], has_text: bool) -> (String, &'static str) {
    match std::str::from_utf8(body) {
        Ok(text) if has_text => (text.to_owned(), "string"),
        _ => (BASE64_STANDARD.encode(body), "base64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Position;
    use crate::message::Body;

    const ALL: &str = r#"{"count": -1, "ackmode": "ack_requeue_true", "encoding": "auto"}"#;

    fn wanted(text: &str) -> Result<Wanted, ApiError> {
        Wanted::of(&Object::of_body(text.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_wanted_is_said_in_several_ways() {
        let all = Wanted { count: None, settle: Settle::Requeue, has_text: true, truncate: None };
        assert_eq!(wanted(ALL), Ok(all));
        let said = wanted(r#"{"count": "3", "requeue": false, "encoding": "base64", "truncate": "9"}"#);
        let few = Wanted { count: Some(3), settle: Settle::Ack, has_text: false, truncate: Some(9) };
        assert_eq!(said, Ok(few));
    }

    #[test]
    fn what_is_missing_or_unknown_is_told() {
        for (text, told) in [
            ("{}", "[{key_missing,count}]"),
            (r#"{"count": 1, "encoding": "auto"}"#, "[{key_missing,ackmode}]"),
            (r#"{"count": 1, "ackmode": "ack_requeue_true"}"#, "[{key_missing,encoding}]"),
            (r#"{"count": "x"}"#, "not_integer: \"x\""),
            (r#"{"count": 1, "ackmode": "none", "encoding": "auto"}"#, "Unsupported ackmode none"),
            (r#"{"count": 1, "requeue": true, "encoding": "hex"}"#, "Unsupported encoding"),
        ] {
            let error = wanted(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn rows_are_counted_by_what_they_take() {
        // What takes two bytes each in JSON.
        let body = Body::Owned(vec![b'\n'; 4096]);
        let message = MessageBuilder::default().build("", "k", Properties::EMPTY, body);
        let got = Got { message, position: Position(0), redelivered: false, remaining: 0 };
        let (all, mut rows, mut count) = (wanted(ALL).unwrap(), Written::new(), 0);
        while !rows.is_full() {
            rows.add(&got, all);
            count += 1;
        }
        let row = described(&got, all).to_string();
        assert!(row.len() > 2 * 4096);
        assert_eq!(count, MOST_BYTES.div_ceil(row.len() + 1));
        let (capacity, text) = (rows.text.capacity(), rows.finish());
        assert!(text.len() < MOST_BYTES + 2 * row.len() && capacity <= 2 * text.len(), "{capacity}");
        assert!(text.starts_with(&format!("[{row},{row},")) && text.ends_with(&format!(",{row}]")));
    }

    #[test]
    fn large_messages_of_which_little_is_wanted_are_counted_whole() {
        let body = Body::Owned(vec![b'x'; 8 << 20]);
        let message = MessageBuilder::default().build("", "k", Properties::EMPTY, body);
        let got = Got { message, position: Position(0), redelivered: false, remaining: 0 };
        let (few, mut rows) = (Wanted { truncate: Some(1), ..wanted(ALL).unwrap() }, Written::new());
        (0..3).for_each(|_| rows.add(&got, few));
        assert!(!rows.is_full());
        rows.add(&got, few);
        assert!(rows.is_full() && rows.finish().len() < 4096);
    }

    #[test]
    fn nothing_is_an_empty_list() {
        assert_eq!(Written::new().finish(), "[]");
    }

    #[test]
    fn a_body_is_text_if_it_can_be() {
        assert_eq!(encoded("ä".as_bytes(), true), ("ä".to_owned(), "string"));
        assert_eq!(encoded("ä".as_bytes(), false), ("w6Q=".to_owned(), "base64"));
        assert_eq!(encoded(b"\xff", true), ("/w==".to_owned(), "base64"));
    }
}
