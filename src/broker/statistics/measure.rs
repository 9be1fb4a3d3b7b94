//! What is recorded of which kind of object, and the answers about it.

use super::history::{Cell, History, Span, Step};

/// A number that is recorded. Of objects of one kind only some are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Measure {
    /// Messages that were published; of a queue, that came to it.
    Publish,
    /// Publishes that were confirmed.
    Confirm,
    /// Mandatory messages that found no queue.
    ReturnUnroutable,
    /// Other messages that found no queue.
    DropUnroutable,
    /// Deliveries that are to be acknowledged.
    Deliver,
    /// Deliveries that are not.
    DeliverNoAck,
    /// Messages taken by basic.get that are to be acknowledged.
    Get,
    /// Messages taken by basic.get that are not.
    GetNoAck,
    /// Times that basic.get found nothing.
    GetEmpty,
    /// Deliveries and gets of messages that had been delivered before.
    Redeliver,
    /// Acknowledgements.
    Ack,
    /// Messages that were published to an exchange.
    PublishIn,
    /// How often an exchange put one into a queue.
    PublishOut,
    /// Messages that were read from the disk again.
    DiskReads,
    /// Messages that got a record in the journal.
    DiskWrites,
    /// Bytes from clients.
    ReceivedBytes,
    /// Bytes to clients.
    SentBytes,
    /// Connections that were opened.
    ConnectionsOpened,
    /// Connections that have ended.
    ConnectionsClosed,
    /// Channels that were opened.
    ChannelsOpened,
    /// Channels that have ended.
    ChannelsClosed,
    /// Declarations of queues.
    QueuesDeclared,
    /// Queues that were made.
    QueuesCreated,
    /// Queues that were deleted.
    QueuesDeleted,
    /// Writes of the journal.
    JournalWrites,
    /// Bytes that they wrote.
    JournalBytes,
    /// Syncs of the journal.
    JournalSyncs,
    /// Reads of stored messages.
    StoreReads,
    /// Now: ready messages.
    Ready,
    /// Now: messages that are delivered and not settled.
    Unacked,
    /// Now: bytes of memory in use.
    MemoryUsed,
    /// Now: free bytes on the disk.
    DiskFree,
    /// Now: open files.
    OpenFiles,
    /// Now: connections, in their handshake too.
    Sockets,
}

/// How many measures there are.
const ALL: usize = Measure::Sockets as usize + 1;

/// What is recorded of a kind of object: counters, and then numbers that go up and down.
#[derive(Debug)]
pub(in crate::broker) struct Kind<const N: usize> {
    pub(super) measures: [Measure; N],
    pub(super) counters: usize,
}

pub(in crate::broker) const QUEUE: Kind<10> = Kind {
    measures: [
        Measure::Publish,
        Measure::Deliver,
        Measure::DeliverNoAck,
        Measure::Get,
        Measure::GetNoAck,
        Measure::GetEmpty,
        Measure::Redeliver,
        Measure::Ack,
        Measure::Ready,
        Measure::Unacked,
    ],
    counters: 8,
};

pub(in crate::broker) const CHANNEL: Kind<11> = Kind {
    measures: [
        Measure::Publish,
        Measure::Confirm,
        Measure::ReturnUnroutable,
        Measure::DropUnroutable,
        Measure::Deliver,
        Measure::DeliverNoAck,
        Measure::Get,
        Measure::GetNoAck,
        Measure::GetEmpty,
        Measure::Redeliver,
        Measure::Ack,
    ],
    counters: 11,
};

/// Of what a channel publishes to one exchange.
pub(in crate::broker) const PUBLISHED: Kind<1> = Kind { measures: [Measure::Publish], counters: 1 };

/// Of what a channel is given of one queue.
pub(in crate::broker) const DELIVERED: Kind<7> = Kind {
    measures: [
        Measure::Deliver,
        Measure::DeliverNoAck,
        Measure::Get,
        Measure::GetNoAck,
        Measure::GetEmpty,
        Measure::Redeliver,
        Measure::Ack,
    ],
    counters: 7,
};

pub(in crate::broker) const CONNECTION: Kind<2> =
    Kind { measures: [Measure::ReceivedBytes, Measure::SentBytes], counters: 2 };

pub(in crate::broker) const EXCHANGE: Kind<2> =
    Kind { measures: [Measure::PublishIn, Measure::PublishOut], counters: 2 };

/// Of a vhost, and of all together.
pub(in crate::broker) const VHOST: Kind<17> = Kind {
    measures: [
        Measure::Publish,
        Measure::Confirm,
        Measure::ReturnUnroutable,
        Measure::DropUnroutable,
        Measure::Deliver,
        Measure::DeliverNoAck,
        Measure::Get,
        Measure::GetNoAck,
        Measure::GetEmpty,
        Measure::Redeliver,
        Measure::Ack,
        Measure::DiskReads,
        Measure::DiskWrites,
        Measure::ReceivedBytes,
        Measure::SentBytes,
        Measure::Ready,
        Measure::Unacked,
    ],
    counters: 15,
};

/// Of the node itself.
pub(in crate::broker) const NODE: Kind<15> = Kind {
    measures: [
        Measure::ConnectionsOpened,
        Measure::ConnectionsClosed,
        Measure::ChannelsOpened,
        Measure::ChannelsClosed,
        Measure::QueuesDeclared,
        Measure::QueuesCreated,
        Measure::QueuesDeleted,
        Measure::JournalWrites,
        Measure::JournalBytes,
        Measure::JournalSyncs,
        Measure::StoreReads,
        Measure::MemoryUsed,
        Measure::DiskFree,
        Measure::OpenFiles,
        Measure::Sockets,
    ],
    counters: 11,
};

impl<const N: usize> Kind<N> {
    /// A history of an object of this kind.
    pub(in crate::broker) fn history<T: Cell>(&self, tick: u64, steps: &[Step]) -> History<T, N> {
        History::new(self.counters, tick, steps)
    }

    /// By how much each counter grows in a second.
    pub(in crate::broker) fn rates<T: Cell>(&self, history: Option<&History<T, N>>, at: Moments) -> Rates {
        let mut rates = Rates::default();
        if let Some(history) = history {
            for (place, measure) in self.measures.iter().enumerate().take(self.counters) {
                let grown = history.grown(place, at.tick) as f64;
                rates.0[*measure as usize] = grown / at.elapsed_seconds();
            }
        }
        rates
    }

    /// What was recorded of a measure; `None` if it is not for this kind, or nothing was recorded.
    pub(in crate::broker) fn trend<T: Cell>(
        &self,
        history: Option<&History<T, N>>,
        at: Moments,
        measure: Measure,
        range: Range,
    ) -> Option<Trend> {
        let place = self.measures.iter().position(|known| *known == measure)?;
        let ticks = |seconds: u64| seconds.saturating_mul(1000).div_ceil(at.interval_ms.max(1));
        let span = Span { now: at.tick, age: ticks(range.age), step: ticks(range.step).max(1) };
        let samples = history?.samples(place, span);
        let moment = |tick: u64| at.unix_ms.saturating_sub((at.tick - tick) * at.interval_ms);
        let sample = |&(tick, value): &(u64, u64)| Sample { unix_ms: moment(tick), value };
        Some(Trend { samples: samples.iter().map(sample).collect() })
    }
}

/// When the last sample was taken, and how far apart they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::broker) struct Moments {
    /// How many there were.
    pub(in crate::broker) tick: u64,
    /// In milliseconds since 1970.
    pub(in crate::broker) unix_ms: u64,
    /// Milliseconds since the one before.
    pub(super) elapsed_ms: u64,
    /// Milliseconds from one to the next, as it should be.
    pub(super) interval_ms: u64,
}

impl Moments {
    fn elapsed_seconds(self) -> f64 {
        self.elapsed_ms.max(1) as f64 / 1000.0
    }
}

/// By how much things grow in a second, from the last two samples. Zero for what is not recorded of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates([f64; ALL]);

impl Default for Rates {
    fn default() -> Self {
        Self([0.0; ALL])
    }
}

impl Rates {
    /// By how much a counter grows in a second.
    #[must_use]
    pub fn of(&self, measure: Measure) -> f64 {
        self.0[measure as usize]
    }

    /// Deliveries and gets of all kinds.
    #[must_use]
    pub fn deliver_get(&self) -> f64 {
        let kinds = [Measure::Deliver, Measure::DeliverNoAck, Measure::Get, Measure::GetNoAck];
        kinds.into_iter().map(|measure| self.of(measure)).sum()
    }

    /// Both: what is recorded of one object in two places.
    #[must_use]
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(rate, other)| *rate += other);
        self
    }
}

/// Which part of the past is asked for, as the API's `lengths_age` and `lengths_incr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// How far back it goes, in seconds.
    pub age: u64,
    /// Seconds from one sample to the next.
    pub step: u64,
}

/// A number at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What it was; of a counter how much it had counted.
    pub value: u64,
}

/// A number in the past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trend {
    /// Newest first. They go back as far as was asked for and as is known.
    pub samples: Vec<Sample>,
}

impl Trend {
    /// What it was on the average.
    #[must_use]
    pub fn average(&self) -> f64 {
        let sum: f64 = self.samples.iter().map(|sample| sample.value as f64).sum();
        if self.samples.is_empty() { 0.0 } else { sum / self.samples.len() as f64 }
    }

    /// By how much it changed in a second, from the first to the last.
    #[must_use]
    pub fn average_rate(&self) -> f64 {
        let (Some(newest), Some(oldest)) = (self.samples.first(), self.samples.last()) else { return 0.0 };
        let seconds = newest.unix_ms.saturating_sub(oldest.unix_ms) as f64 / 1000.0;
        if seconds > 0.0 { (newest.value as f64 - oldest.value as f64) / seconds } else { 0.0 }
    }

    /// This and another with the same step: what both are together, as far back as the longer one goes. Where one of them
    /// was not yet, it adds nothing.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        let (mut long, short) =
            if self.samples.len() < other.samples.len() { (other.clone(), &self) } else { (self, other) };
        // One may have been asked for after another sample was taken, so that moments differ by a little or by a step.
        let gap = match &*long.samples {
            [newest, next, ..] => newest.unix_ms.saturating_sub(next.unix_ms),
            _ => u64::MAX,
        };
        let mut rest = &*short.samples;
        for Sample { unix_ms, value } in &mut long.samples {
            while let [sample, next, ..] = rest
                && next.unix_ms.abs_diff(*unix_ms) <= sample.unix_ms.abs_diff(*unix_ms)
            {
                rest = &rest[1..];
            }
            let [sample, ..] = rest else { break };
            if sample.unix_ms.saturating_sub(*unix_ms) > gap / 2 {
                break;
            }
            *value = value.saturating_add(sample.value);
        }
        long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(samples: &[(u64, u64)]) -> Trend {
        Trend { samples: samples.iter().map(|&(unix_ms, value)| Sample { unix_ms, value }).collect() }
    }

    #[test]
    fn the_sum_of_trends_goes_as_far_back_as_the_longest() {
        let (long, short) = (trend(&[(30, 3), (20, 2), (10, 1)]), trend(&[(30, 40), (20, 50)]));
        let sum = trend(&[(30, 43), (20, 52), (10, 1)]);
        assert_eq!((long.clone().plus(&short), short.plus(&long)), (sum.clone(), sum));
        assert_eq!(long.clone().plus(&Trend::default()), long);
        assert_eq!(Trend::default().plus(&long), long);
        let one = trend(&[(30, 5)]);
        assert_eq!(one.plus(&trend(&[(31, 5)])).samples[0].value, 10);
    }

    #[test]
    fn trends_are_added_by_their_moments() {
        let long = trend(&[(30, 3), (20, 2), (10, 1)]);
        // Asked for a sample later, and a little more.
        assert_eq!(
            long.clone().plus(&trend(&[(41, 60), (31, 50), (21, 40)])),
            trend(&[(30, 53), (20, 42), (10, 1)])
        );
        assert_eq!(
            trend(&[(41, 60), (31, 50), (21, 40), (11, 30)]).plus(&long),
            trend(&[(41, 63), (31, 53), (21, 42), (11, 31)])
        );
    }

    #[test]
    fn a_range_may_be_any_number_of_seconds() {
        let mut history = QUEUE.history::<u32>(0, &[Step { every: 1, rows: 3 }]);
        (1..5).for_each(|tick| history.tell(tick, [tick; 10]));
        for interval_ms in [1, 5000] {
            let at = Moments { tick: 4, unix_ms: 4, elapsed_ms: interval_ms, interval_ms };
            for (age, step) in [(u64::MAX, u64::MAX), (u64::MAX, 1), (1, u64::MAX)] {
                let trend = QUEUE.trend(Some(&history), at, Measure::Ready, Range { age, step });
                assert_eq!(trend.unwrap().samples[0], Sample { unix_ms: 4, value: 4 });
            }
        }
    }
}
