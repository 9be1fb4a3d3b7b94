//! Messages that can be told from each other and checked to the last byte.

use std::collections::HashMap;

use leveret::message::{Body, Message, MessageBuilder};
use leveret::protocol::properties::{Properties, PropertiesBuilder};

use crate::model::Id;

/// Every message ever made, by its number.
#[derive(Debug, Default)]
pub struct Messages {
    pub sent: HashMap<Id, Sent>,
    pub builder: MessageBuilder,
    last: Id,
}

/// What was sent.
#[derive(Debug)]
pub struct Sent {
    pub exchange: String,
    pub key: String,
    pub size: usize,
    pub kind: Kind,
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    pub persistent: bool,
    pub priority: Option<u8>,
    /// How long it may wait.
    pub lifetime: Option<u64>,
}

fn properties(id: Id, kind: Kind) -> Vec<u8> {
    let mut builder = PropertiesBuilder::new();
    builder.set_delivery_mode(if kind.persistent { 2 } else { 1 }).set_timestamp(id);
    if let Some(priority) = kind.priority {
        builder.set_priority(priority);
    }
    if let Some(lifetime) = kind.lifetime {
        builder.set_expiration(lifetime.to_string());
    }
    builder.finish()
}

/// The body of a message.
pub fn body(id: Id, size: usize) -> Vec<u8> {
    (0..size).map(|at| (id.wrapping_mul(31).wrapping_add(at as u64 / 7) % 251) as u8).collect()
}

/// The number of a message.
pub fn id_of(message: &Message) -> Option<Id> {
    Properties::parse(message.raw_properties()).ok()?.timestamp()
}

impl Messages {
    pub fn make(&mut self, exchange: &str, key: &str, size: usize, kind: Kind) -> (Id, Message) {
        self.last += 1;
        let id = self.last;
        let raw = properties(id, kind);
        let parsed = Properties::parse(&raw).expect("properties");
        let message = self.builder.build(exchange, key, parsed, Body::Owned(body(id, size)));
        let sent = Sent { exchange: exchange.to_owned(), key: key.to_owned(), size, kind };
        self.sent.insert(id, sent);
        (id, message)
    }

    /// Whether it is a message that was sent, in every byte.
    pub fn check(&self, message: &Message) -> Result<Id, String> {
        let id = id_of(message).ok_or("a message without a number")?;
        let sent = self.sent.get(&id).ok_or_else(|| format!("message {id} was never sent"))?;
        let same = message.exchange() == sent.exchange
            && message.routing_key() == sent.key
            && message.raw_properties() == properties(id, sent.kind)
            && message.body() == body(id, sent.size);
        if same { Ok(id) } else { Err(format!("message {id} of {} bytes has changed", sent.size)) }
    }
}
