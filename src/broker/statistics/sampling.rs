//! Walks over what there is and takes a sample of each.

use std::sync::{Arc, Weak};

use super::measure::{CHANNEL, CONNECTION, VHOST};
use super::{Moments, Statistics};
use crate::broker::Broker;
use crate::broker::churn::Churn;
use crate::broker::connections::{Bytes, OpenChannel};
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
        {
            let mut history = connection.history.lock();
            let begin = || Box::new(CONNECTION.history(at.tick - 1, &statistics.objects));
            let history = history.get_or_insert_with(begin);
            if history.last() == &[received, sent] {
                // Then nothing happened on its channels either.
                continue;
            }
            history.tell(at.tick, [received, sent]);
        }
        connection.channels().iter().for_each(|channel| sample_channel(statistics, channel, at));
    }
}

fn sample_channel(statistics: &Statistics, channel: &OpenChannel, at: Moments) {
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
    .map(|counter| counter.get());
    let mut history = channel.history.lock();
    let last = history.as_ref().map(|history| *history.last()).unwrap_or_default();
    if last != numbers {
        let begin = || Box::new(CHANNEL.history(at.tick - 1, &statistics.objects));
        history.get_or_insert_with(begin).tell(at.tick, numbers);
    }
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
        if let Some(history) = connection.history.lock().as_mut() {
            history.forget(tick);
        }
        for channel in connection.channels() {
            if let Some(history) = channel.history.lock().as_mut() {
                history.forget(tick);
            }
        }
    }
}
