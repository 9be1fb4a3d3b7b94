//! A queue as others see it.

use super::{QueueCell, State};
use crate::broker::policies::Applied;
use crate::broker::statistics::activity::Booked;
use crate::broker::statistics::history::Step;
use crate::broker::statistics::{Measure, Moments, QUEUE, QueueHistory, Range, Trend};
use crate::broker::views::{ActivityStatus, ConsumerView, QueueState, QueueView};

/// What is kept of a queue for those who look at it.
#[derive(Debug)]
pub(super) struct Seen {
    /// Something happened to it since the last sample.
    listed: bool,
    /// What of it is in the sums of its vhost.
    booked: Booked,
    /// When something last happened to its messages, in milliseconds since 1970, to the nearest sample.
    changed_at: u64,
    /// The last sample that it was part of.
    sampled_at: u64,
    /// For which part of the last samples a consumer could take messages.
    capacity: Option<f64>,
    history: QueueHistory,
}

impl Seen {
    pub(super) fn new(now: u64) -> Self {
        Self {
            listed: false,
            booked: Booked::default(),
            changed_at: now,
            sampled_at: 0,
            capacity: None,
            history: QueueHistory::default(),
        }
    }
}

/// What the latest sample weighs of a queue's capacity.
const LATEST: f64 = 0.25;

impl QueueCell {
    /// Something happens to a queue that is locked: it is to be part of the next sample.
    #[inline]
    pub(super) fn note_change(&self, state: &mut State) {
        if !state.seen.listed {
            state.seen.listed = true;
            self.agenda.activity.list(&self.me);
        }
    }

    /// Brings the sums of the vhost up to date.
    pub(in crate::broker) fn book(&self) {
        self.book_locked(&mut self.state.lock());
    }

    pub(super) fn book_locked(&self, state: &mut State) {
        let (depth, counts) = (state.queue.depth(), state.queue.event_counts());
        let now = Booked {
            ready: depth.ready,
            unacked: depth.unacked + depth.held,
            disk_reads: counts.disk_reads,
            disk_writes: counts.disk_writes,
            paged_out: counts.paged_out,
            parked: counts.parked,
        };
        self.agenda.activity.book(state.seen.booked, now);
        state.seen.booked = now;
    }

    /// Is part of a sample.
    pub(in crate::broker) fn sample(&self, at: Moments, steps: &[Step]) {
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        self.book_locked(&mut state);
        let State { queue, seen, .. } = &mut *state;
        let (depth, counts) = (queue.depth(), queue.event_counts());
        (seen.listed, seen.changed_at, seen.sampled_at) = (false, at.unix_ms, at.tick);
        let numbers = [
            counts.publish,
            counts.deliver,
            counts.deliver_no_ack,
            counts.get,
            counts.get_no_ack,
            counts.get_empty,
            counts.redeliver,
            counts.ack,
            depth.ready,
            depth.unacked + depth.held,
        ];
        seen.history.tell(&QUEUE, at.tick, numbers, steps);
        let willing = f64::from(u8::from(queue.has_willing_consumer()));
        let before = seen.capacity.filter(|_| queue.consumer_count() > 0);
        seen.capacity = Some(before.map_or(willing, |before| before + LATEST * (willing - before)));
    }

    pub(in crate::broker) fn trend(
        &self,
        at: Moments,
        what: (Measure, Range),
        steps: &[Step],
    ) -> Option<Trend> {
        self.state.lock().seen.history.trend(&QUEUE, at, what, steps)
    }

    /// Lets go of its history, if that has become flat.
    pub(in crate::broker) fn drop_flat(&self, tick: u64) {
        self.state.lock().seen.history.drop_flat(tick);
    }

    /// Whether it has a history.
    #[cfg(test)]
    pub(in crate::broker) fn has_history(&self) -> bool {
        self.state.lock().seen.history.is_kept()
    }

    pub(in crate::broker) fn forget_history(&self, tick: u64) {
        self.state.lock().seen.history.forget(tick);
    }

    /// What there is to know of it; `None` if it was deleted meanwhile. `held_up` says that publishers wait for the
    /// journal.
    pub(in crate::broker) fn view(
        &self,
        vhost: &str,
        applied: &Applied,
        held_up: bool,
        at: Moments,
    ) -> Option<QueueView> {
        let mut view = QueueView {
            id: self.id,
            name: self.spec.name.clone(),
            vhost: vhost.to_owned(),
            durable: self.spec.durable,
            auto_delete: self.spec.auto_delete,
            owner: self.spec.owner,
            owner_connection: None,
            arguments: self.spec.arguments.clone(),
            kind: self.traits.kind,
            policy: applied.user_name(),
            operator_policy: applied.operator_name(),
            effective_policy: applied.effective(),
            state: QueueState::Running,
            idle_since: None,
            figures: Default::default(),
            counts: Default::default(),
            rates: Default::default(),
            consumer_capacity: 0.0,
            exclusive_consumer_tag: None,
            single_active_consumer_tag: None,
            delivery_limit: None,
        };
        let state = self.state.lock();
        if state.gone {
            return None;
        }
        let queue = &state.queue;
        let is_active = state.seen.listed || (at.tick > 0 && state.seen.sampled_at == at.tick);
        view.figures = queue.figures();
        view.counts = queue.event_counts();
        view.delivery_limit = queue.rules().delivery_limit;
        let tag_of = |wanted: fn(&crate::queue::ConsumerState<'_, _>) -> bool| {
            queue.consumer_states().find(wanted).map(|consumer| consumer.spec.tag.to_string())
        };
        view.exclusive_consumer_tag = tag_of(|consumer| consumer.spec.exclusive);
        view.single_active_consumer_tag = tag_of(|consumer| consumer.single_active == Some(true));
        if view.figures.consumers > 0 {
            let willing = f64::from(u8::from(queue.has_willing_consumer()));
            view.consumer_capacity = state.seen.capacity.filter(|_| is_active).unwrap_or(willing);
        }
        view.rates = state.seen.history.rates(&QUEUE, at);
        let changed_at = state.seen.changed_at;
        drop(state);
        if !is_active {
            (view.state, view.idle_since) = (QueueState::Idle, Some(changed_at));
        } else if self.spec.durable && held_up {
            view.state = QueueState::Flow;
        }
        Some(view)
    }

    /// Its consumers.
    pub(in crate::broker) fn consumer_views(&self, vhost: &str) -> Vec<ConsumerView> {
        let state = self.state.lock();
        let timeout = state.queue.rules().consumer_timeout;
        let consumers = state.queue.consumer_states().map(|consumer| {
            let spec = consumer.spec;
            ConsumerView {
                queue: self.spec.name.clone(),
                vhost: vhost.to_owned(),
                tag: spec.tag.to_string(),
                connection: consumer.link.connection,
                open_connection: None,
                channel: consumer.link.channel,
                ack_required: !spec.no_ack,
                exclusive: spec.exclusive,
                active: consumer.single_active != Some(false),
                status: match consumer.single_active {
                    None => ActivityStatus::Up,
                    Some(true) => ActivityStatus::SingleActive,
                    Some(false) => ActivityStatus::Waiting,
                },
                prefetch: spec.prefetch,
                priority: spec.priority,
                unacked: consumer.unacked,
                arguments: spec.arguments.clone(),
                timeout: spec.timeout.or(timeout),
            }
        });
        consumers.collect()
    }
}
