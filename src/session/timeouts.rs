//! The acknowledgement timeout: a channel ends when one of its deliveries has waited too long for its settlement.
//!
//! Deliveries cost nothing for it. While some are out, their channels are looked at from time to time, and how long one
//! has been out is known from the tags that were next at earlier looks.

use std::time::Duration;

use crate::channel::unacked::Unacked;
use crate::protocol::reply::{AmqpError, ReplyCode};
use crate::session::consumers::Consumer;
use crate::session::open::Open;
use crate::session::wire::Wire;
use crate::time::Moment;

/// The longest time between two looks.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The shortest one.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// Looks within the shortest timeout. A channel ends at most two waits late.
const LOOKS: u32 = 8;

/// When to look at what is unacked.
#[derive(Debug, Default)]
pub(super) struct Timeouts {
    /// Something was delivered that awaits its acknowledgement, since the last turn.
    pub(super) delivered: bool,
    /// A consumer came, whose timeout may be shorter than those before.
    pub(super) consumers_changed: bool,
    look_at: Option<Moment>,
}

impl Timeouts {
    /// When a look is due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.look_at
    }
}

fn wait_for(shortest: Option<Duration>) -> Duration {
    shortest.map_or(LONGEST_WAIT, |timeout| (timeout / LOOKS).clamp(SHORTEST_WAIT, LONGEST_WAIT))
}

/// The timeout of what was delivered to a consumer: its own, or its queue's, or the configured one. Zero is none.
fn timeout_of(consumer: &Consumer, configured: Duration) -> Option<Duration> {
    let said = consumer.timeout.or_else(|| consumer.cell.consumer_timeout());
    Some(said.map_or(configured, Duration::from_millis)).filter(|timeout| !timeout.is_zero())
}

impl Open {
    /// Ends a turn in which something may have been delivered: the first look is planned.
    pub(super) fn watch_unacked(&mut self, wire: &Wire, now: Moment) {
        let Timeouts { delivered, consumers_changed, look_at } = &mut self.timeouts;
        let delivered = std::mem::take(delivered);
        let planned = *look_at;
        // Before anything is delivered a new consumer does not matter.
        let is_due = if planned.is_some() { *consumers_changed } else { delivered };
        if !is_due {
            return;
        }
        *consumers_changed = false;
        for channel in self.channels.values_mut() {
            channel.mark_ages(now);
        }
        let shortest = self.timeouts_by_key(wire).into_iter().flatten().min();
        let due = now.after(wait_for(shortest));
        self.timeouts.look_at = Some(planned.map_or(due, |planned| planned.min(due)));
    }

    /// The timeout of each consumer that has something out, by key.
    fn timeouts_by_key(&self, wire: &Wire) -> Vec<Option<Duration>> {
        let configured = wire.limits.consumer_timeout;
        let timeout = |consumer: Option<&Consumer>| timeout_of(consumer?, configured);
        self.consumers.all().map(|consumer| timeout(consumer.filter(|c| !c.no_ack))).collect()
    }

    /// Looks at what is unacked, if it is time to: ends the channels on which something is overdue.
    pub(super) fn look_for_overdue(&mut self, wire: &mut Wire, now: Moment) {
        if self.timeouts.look_at.is_none_or(|due| due > now) {
            return;
        }
        let timeouts = self.timeouts_by_key(wire);
        let shortest = timeouts.iter().flatten().min().copied();
        let mut overdue = Vec::new();
        for (&number, channel) in &mut self.channels {
            // Only what is older than the shortest timeout is looked at, which is nearly always nothing.
            let candidates = shortest.map_or(0, |shortest| channel.ages.out_since(now.before(shortest)));
            let late = channel.unacked.below(candidates).find_map(|(tag, Unacked { consumer, .. })| {
                let timeout = timeouts.get(consumer as usize).copied().flatten()?;
                (now.since(channel.ages.of(tag)?) >= timeout).then_some(timeout)
            });
            overdue.extend(late.map(|timeout| (number, timeout)));
            channel.mark_ages(now);
        }
        for (number, timeout) in overdue {
            let text = format!(
                "delivery acknowledgement on channel {number} timed out. Timeout value used: {} ms. This timeout value \
                 can be configured, see consumers doc guide to learn more",
                timeout.as_millis()
            );
            self.fail_channel(wire, number, &AmqpError::new(ReplyCode::PreconditionFailed, text));
        }
        let is_any_out = self.channels.values().any(|channel| !channel.unacked.is_empty());
        self.timeouts.look_at = is_any_out.then(|| now.after(wait_for(shortest)));
    }
}
