//! Messages that can be told from each other and checked to the last byte.

use std::collections::HashMap;

use leveret::message::{Body, Message, MessageBuilder};
use leveret::protocol::properties::{Properties, PropertiesBuilder};

use crate::model::Id;

/// Every message ever made, by its number.
#[derive(Debug, Default)]
pub struct Messages {
    sent: HashMap<Id, Sent>,
    builder: MessageBuilder,
    last: Id,
}

#[derive(Debug)]
struct Sent {
    exchange: String,
    key: String,
    size: usize,
    persistent: bool,
}

fn properties(id: Id, persistent: bool) -> Vec<u8> {
    PropertiesBuilder::new().set_delivery_mode(if persistent { 2 } else { 1 }).set_timestamp(id).finish()
}

fn body(id: Id, size: usize) -> Vec<u8> {
    (0..size).map(|at| (id.wrapping_mul(31).wrapping_add(at as u64 / 7) % 251) as u8).collect()
}

/// The number of a message.
pub fn id_of(message: &Message) -> Option<Id> {
    Properties::parse(message.raw_properties()).ok()?.timestamp()
}

impl Messages {
    pub fn make(&mut self, exchange: &str, key: &str, size: usize, persistent: bool) -> (Id, Message) {
        self.last += 1;
        let id = self.last;
        let raw = properties(id, persistent);
        let parsed = Properties::parse(&raw).expect("properties");
        let message = self.builder.build(exchange, key, parsed, Body::Owned(body(id, size)));
        let sent = Sent { exchange: exchange.to_owned(), key: key.to_owned(), size, persistent };
        self.sent.insert(id, sent);
        (id, message)
    }

    /// Whether it is a message that was sent, in every byte.
    pub fn check(&self, message: &Message) -> Result<Id, String> {
        let id = id_of(message).ok_or("a message without a number")?;
        let sent = self.sent.get(&id).ok_or_else(|| format!("message {id} was never sent"))?;
        let same = message.exchange() == sent.exchange
            && message.routing_key() == sent.key
            && message.raw_properties() == properties(id, sent.persistent)
            && message.body() == body(id, sent.size);
        if same { Ok(id) } else { Err(format!("message {id} of {} bytes has changed", sent.size)) }
    }
}
