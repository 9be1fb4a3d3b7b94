//! A queue as others see it.

use super::QueueCell;
use crate::broker::policies::Applied;
use crate::broker::views::{ActivityStatus, ConsumerView, QueueState, QueueView};

impl QueueCell {
    /// What there is to know of it; `None` if it was deleted meanwhile. `held_up` says that publishers wait for the
    /// journal.
    pub(in crate::broker) fn view(&self, vhost: &str, applied: &Applied, held_up: bool) -> Option<QueueView> {
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
        view.figures = queue.figures();
        view.counts = queue.event_counts();
        view.delivery_limit = queue.rules().delivery_limit;
        let tag_of = |wanted: fn(&crate::queue::ConsumerState<'_, _>) -> bool| {
            queue.consumer_states().find(wanted).map(|consumer| consumer.spec.tag.to_string())
        };
        view.exclusive_consumer_tag = tag_of(|consumer| consumer.spec.exclusive);
        view.single_active_consumer_tag = tag_of(|consumer| consumer.single_active == Some(true));
        if view.figures.consumers > 0 {
            view.consumer_capacity = f64::from(u8::from(queue.has_willing_consumer()));
        }
        drop(state);
        if self.spec.durable && held_up {
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
