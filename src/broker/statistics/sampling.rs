//! Walks over what there is and takes a sample of each.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::history::{Cell, History, Step};
use super::measure::{CHANNEL, CONNECTION, DELIVERED, Kind, PUBLISHED, VHOST};
use super::{Moments, Statistics};
use crate::broker::Broker;
use crate::broker::churn::Churn;
use crate::broker::connections::{Bytes, DeliveredFrom, OpenChannel, PublishedTo};
use crate::broker::counter::Counter;
use crate::broker::totals::Event;
use crate::broker::vhost::VHost;

/// Queues to which something happened since the last sample.
pub(super) fn queues(statistics: &Statistics, broker: &Broker, at: Moments) {
    for vhost in broker.vhosts.all().values() {
        for cell in vhost.activity().take().iter().filter_map(Weak::upgrade) {
            cell.sample(at, &statistics.objects);
        }
    }
}

/// Lets go of histories of queues and vhosts that have become flat. Looks at all queues, once in as long as a history goes
/// back.
pub(super) fn drop_flat(broker: &Broker, at: Moments) {
    for vhost in broker.vhosts.all().values() {
        vhost.history.lock().drop_flat(at.tick);
        vhost.queues().iter().for_each(|cell| cell.drop_flat(at.tick));
    }
}

/// Connections and their channels.
pub(super) fn connections(statistics: &Statistics, broker: &Broker, at: Moments) {
    for connection in broker.registry.connections() {
        let Bytes { received, sent } = connection.bytes();
        if !tell(&connection.history, &CONNECTION, at, &statistics.objects, [received, sent]) {
            // Then nothing happened on its channels either.
            continue;
        }
        connection.channels().iter().for_each(|channel| sample_channel(statistics, channel, at));
    }
}

/// A channel, with what it counts for each exchange and queue.
pub(super) fn sample_channel(statistics: &Statistics, channel: &OpenChannel, at: Moments) {
    let counters = &channel.counters;
    let numbers = [
        &counters.publish,
        &counters.confirm,
        &counters.return_unroutable,
        &counters.drop_unroutable,
        &counters.deliver,
        &counters.deliver_no_ack,
        &counters.get,
        &counters.get_no_ack,
        &counters.get_empty,
        &counters.redeliver,
        &counters.ack,
    ]
    .map(Counter::get);
    if !tell(&channel.history, &CHANNEL, at, &statistics.objects, numbers) {
        // Nor did what it counts for each exchange and queue.
        return;
    }
    let published = |counts: &PublishedTo| {
        tell(&counts.history, &PUBLISHED, at, &[], [counts.publish.get()]);
    };
    let delivered = |counts: &DeliveredFrom| {
        let numbers = [
            &counts.deliver,
            &counts.deliver_no_ack,
            &counts.get,
            &counts.get_no_ack,
            &counts.get_empty,
            &counts.redeliver,
            &counts.ack,
        ];
        tell(&counts.history, &DELIVERED, at, &[], numbers.map(Counter::get));
    };
    channel.look_at_details(published, delivered);
}

/// Tells a history the numbers if they have changed, and begins one if there is none. Returns whether they have.
fn tell<T: Cell, const N: usize>(
    history: &Mutex<Option<Box<History<T, N>>>>,
    kind: &Kind<N>,
    at: Moments,
    steps: &[Step],
    numbers: [u64; N],
) -> bool {
    let mut history = history.lock();
    let last = history.as_ref().map_or([0; N], |history| *history.last());
    if last == numbers {
        return false;
    }
    history.get_or_insert_with(|| Box::new(kind.history(at.tick - 1, steps))).tell(at.tick, numbers);
    true
}

/// Exchanges to which something was published since the last sample.
pub(super) fn exchanges(statistics: &Statistics, broker: &Broker, at: Moments) {
    for vhost in broker.vhosts.all().values() {
        vhost.active_exchanges().iter().for_each(|counts| counts.sample(at, &statistics.objects));
    }
}

/// Vhosts. Returns by how much the counters of all have grown, and what there is now in all of them.
pub(super) fn vhosts(statistics: &Statistics, broker: &Broker, at: Moments) -> [u64; 17] {
    let vhosts: Vec<Arc<VHost>> = broker.vhosts.all().values().cloned().collect();
    let bytes = broker.registry.bytes_of_all(&vhosts);
    let mut grown = [0; 17];
    for (vhost, bytes) in vhosts.iter().zip(bytes) {
        let (counted, sums) = (vhost.totals.counted(), vhost.activity().sums());
        let numbers = [
            counted.of(Event::Received),
            counted.of(Event::Confirmed),
            counted.of(Event::UnroutableReturned),
            counted.of(Event::UnroutableDropped),
            counted.of(Event::DeliveredManualAck),
            counted.of(Event::DeliveredAutoAck),
            counted.of(Event::GotManualAck),
            counted.of(Event::GotAutoAck),
            counted.of(Event::GetEmpty),
            counted.of(Event::Redelivered),
            counted.of(Event::Acknowledged),
            sums.disk_reads,
            sums.disk_writes,
            bytes.received,
            bytes.sent,
            sums.ready,
            sums.unacked,
        ];
        let mut history = vhost.history.lock();
        history.tell(&VHOST, at.tick, numbers, &statistics.global);
        for (place, grown) in grown.iter_mut().enumerate() {
            *grown += if place < VHOST.counters { history.grown(place, at.tick) } else { numbers[place] };
        }
    }
    grown
}

/// Adds what vhosts have grown by; what there is now takes the place of what there was.
pub(super) fn add(counted: &mut [u64; 17], grown: [u64; 17]) {
    for (place, (counted, grown)) in counted.iter_mut().zip(grown).enumerate() {
        *counted = if place < VHOST.counters { *counted + grown } else { grown };
    }
}

/// What is recorded of the node itself.
pub(super) fn node_numbers(broker: &Broker) -> [u64; 15] {
    let Churn {
        connections_opened,
        connections_closed,
        channels_opened,
        channels_closed,
        queues_declared,
        queues_created,
        queues_deleted,
    } = broker.churn();
    let meters = broker.journal.meters();
    let (writes, syncs, reads) = (meters.writes.metered(), meters.syncs.metered(), meters.reads.metered());
    [
        connections_opened,
        connections_closed,
        channels_opened,
        channels_closed,
        queues_declared,
        queues_created,
        queues_deleted,
        writes.count,
        writes.bytes,
        syncs.count,
        reads.count,
        broker.node.memory().used,
        broker.node.disk().free,
        broker.node.open_files(),
        broker.registry.sockets(),
    ]
}

/// Forgets the histories of all objects.
pub(super) fn forget(broker: &Broker, tick: u64) {
    for vhost in broker.vhosts.all().values() {
        vhost.history.lock().forget(tick);
        vhost.queues().iter().for_each(|cell| cell.forget_history(tick));
        vhost.all_exchange_counts().iter().for_each(|counts| counts.forget_history(tick));
    }
    for connection in broker.registry.connections() {
        forget_one(&connection.history, tick);
        for channel in connection.channels() {
            forget_one(&channel.history, tick);
            channel.look_at_details(
                |counts| forget_one(&counts.history, tick),
                |counts| forget_one(&counts.history, tick),
            );
        }
    }
}

fn forget_one<T: Cell, const N: usize>(history: &Mutex<Option<Box<History<T, N>>>>, tick: u64) {
    if let Some(history) = history.lock().as_mut() {
        history.forget(tick);
    }
}
