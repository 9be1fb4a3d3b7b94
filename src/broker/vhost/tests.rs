//! A vhost as its callers see it: what may be declared, bound and deleted, with which error otherwise, and when the
//! reply may leave.

mod binding;
mod declaring;
mod deleting;
mod gates;
mod letters;
mod lifetimes;
mod listing;
mod moving;
mod permissions;
mod routes;
mod transactions;

use std::collections::HashMap;

use super::*;
use crate::broker::events::INTERNAL;
use crate::broker::outlet::{Outlet, OutletLink, Taken};
use crate::broker::queue_cell::{ConsumeError, GetResult, Gone};
use crate::broker::transaction::Commit;
use crate::ids::{ConnectionId, ConsumerId, Lsn, Position, Progress};
use crate::message::{Body, Message, MessageBuilder};
use crate::protocol::field::{TableBuilder, TableRef};
use crate::protocol::properties::{Properties, PropertiesBuilder};
use crate::queue::{ConsumerSpec, Settle};

const ME: ConnectionId = ConnectionId(1);
const OTHER: ConnectionId = ConnectionId(2);

fn vhost() -> Arc<VHost> {
    VHost::empty("/", Arc::new(Journal::in_memory()))
}

fn queue(name: &str) -> QueueDeclare<'_> {
    QueueDeclare { name, ..Default::default() }
}

fn durable_queue(name: &str) -> QueueDeclare<'_> {
    QueueDeclare { durable: true, ..queue(name) }
}

fn exchange<'a>(name: &'a str, kind: &'a str) -> ExchangeDeclare<'a> {
    let arguments = TableRef::EMPTY;
    ExchangeDeclare {
        name,
        kind,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments,
        objection: None,
        by: INTERNAL,
    }
}

fn to_queue<'a>(source: &'a str, queue: &'a str, key: &'a str) -> BindRequest<'a> {
    BindRequest { source, target: BindTarget::Queue(queue), key, arguments: TableRef::EMPTY }
}

fn to_exchange<'a>(source: &'a str, exchange: &'a str, key: &'a str) -> BindRequest<'a> {
    BindRequest { source, target: BindTarget::Exchange(exchange), key, arguments: TableRef::EMPTY }
}

fn message(persistent: bool) -> Message {
    let raw = PropertiesBuilder::new().set_delivery_mode(if persistent { 2 } else { 1 }).finish();
    MessageBuilder::default().build("x", "k", Properties::parse(&raw).unwrap(), Body::Borrowed(b"body"))
}

/// Publishes one message; the position after which it is safe.
fn publish(cell: &QueueCell, persistent: bool) -> Lsn {
    cell.publish(std::iter::once(message(persistent))).unwrap().safe
}

fn consume(cell: &QueueCell, outlet: &Arc<Outlet>) -> ConsumerId {
    let spec = ConsumerSpec::default();
    let link = OutletLink {
        outlet: outlet.clone(),
        connection: ConnectionId(1),
        consumer: 7,
        channel: 1,
        no_ack: false,
    };
    let id = cell.consume(spec, link).unwrap();
    cell.set_active(id, true);
    id
}

fn ready(cell: &QueueCell) -> u64 {
    cell.counts().0.ready
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, AmqpError>, code: u16, text: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.code.code(), &*error.text), (code, text));
}

fn routed(vhost: &VHost, exchange: &str, key: &str) -> Vec<String> {
    let routed = vhost.route(exchange, key, None, &mut RouteScratch::default()).unwrap();
    routed.route.queues.iter().map(|cell| cell.spec.name.clone()).collect()
}
