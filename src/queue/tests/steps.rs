//! What the random sequences are made of: everything that can be done with a queue, and how often.

use proptest::prelude::*;

use super::{ConsumerSpec, Settle};
use crate::queue::arguments::QueueKind;
use crate::queue::rules::{Overflow, Settings, Traits};

#[derive(Clone, Debug)]
pub(super) enum Step {
    Publish {
        count: usize,
        size: usize,
        timing: Timing,
    },
    Get {
        no_ack: bool,
    },
    Consume {
        spec: ConsumerSpec,
        room: usize,
        active: bool,
    },
    SetActive {
        who: usize,
        active: bool,
    },
    Cancel {
        who: usize,
    },
    Settle {
        who: usize,
        pick: Pick,
        how: Settle,
    },
    /// The connection has written `room` messages, and calls back if it had said full.
    Room {
        who: usize,
        room: usize,
    },
    /// The connection ends; its consumer has not been cancelled yet.
    Hangup {
        who: usize,
    },
    Purge,
    Deliver,
    /// So many milliseconds pass.
    Pass(u64),
    /// A policy changes.
    Rules(Settings),
    /// The queue is used otherwise.
    Touch,
    /// Up to `most` dead letters are found, and moved but for those that `stuck` says.
    Bury {
        most: usize,
        stuck: u16,
    },
    /// Those that were stuck are tried again.
    TryAgain,
    /// The journal is written, and what can leave memory does.
    Relieve {
        all: bool,
    },
    /// A checkpoint moves what is in the journal to a segment.
    Fold,
    /// What is not stored is moved out of memory.
    Spill {
        bytes: u64,
    },
    /// A segment is written anew.
    Rewrite,
    /// One of the messages that are not in memory cannot be read any more.
    Damage {
        which: usize,
    },
    /// What the queue wants to have read is read, and given to it only later.
    Load,
    /// The broker starts anew.
    Restart,
}

/// What a message says of itself, and how long ago it was published.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    pub(super) priority: Option<u8>,
    pub(super) lifetime: Option<u64>,
    pub(super) age: u64,
}

/// Which of its deliveries somebody settles.
#[derive(Clone, Debug)]
pub(super) enum Pick {
    All,
    /// The first, some more by the bits, and the first once more.
    Some(u16),
}

/// Any kind of queue, with any rules in the beginning.
pub(super) fn setup() -> impl Strategy<Value = (Traits, Settings)> {
    let kind = prop_oneof![2 => Just(QueueKind::Classic), 1 => Just(QueueKind::Quorum)];
    let max_priority = prop_oneof![3 => Just(0u8), 2 => 1u8..4, 1 => Just(u8::MAX)];
    let traits = (kind, max_priority, prop::bool::weighted(0.3));
    let traits =
        traits.prop_map(|(kind, max_priority, single_active)| Traits { kind, max_priority, single_active });
    (traits, prop_oneof![1 => Just(Settings::default()), 2 => settings()])
}

fn settings() -> impl Strategy<Value = Settings> {
    let sometimes = |range| prop::option::weighted(0.3, range);
    let overflow = prop_oneof![
        3 => Just(Overflow::DropHead),
        1 => Just(Overflow::RejectPublish),
        1 => Just(Overflow::RejectPublishDlx)
    ];
    let limits = (sometimes(0..80u64), sometimes(0..2500u64), overflow);
    let times = (sometimes(0..200u64), sometimes(1..100u64));
    let dead = (any::<bool>(), prop::option::of(-1..3i64), prop::bool::weighted(0.3));
    (limits, times, dead).prop_map(
        |(mut limits, (message_ttl, expires), (mut dead_letters, delivery_limit, stay))| {
            if stay {
                (limits.2, dead_letters) = (Overflow::RejectPublish, true);
            }
            Settings {
                message_ttl,
                expires,
                max_length: limits.0,
                max_length_bytes: limits.1,
                overflow: Some(limits.2),
                dead_letter_exchange: dead_letters.then(|| "dead".to_owned()),
                delivery_limit,
                at_least_once: Some(stay),
                ..Settings::default()
            }
        },
    )
}

fn timing() -> impl Strategy<Value = Timing> {
    let lifetime = prop_oneof![5 => Just(None), 2 => (0..150u64).prop_map(Some), 1 => Just(Some(u64::MAX))];
    let priority = prop::option::of(prop_oneof![5 => 0..6u8, 1 => Just(u8::MAX)]);
    (priority, lifetime, prop_oneof![2 => Just(0), 1 => 0..30u64])
        .prop_map(|(priority, lifetime, age)| Timing { priority, lifetime, age })
}

fn spec() -> impl Strategy<Value = ConsumerSpec> {
    (0u16..4, prop::bool::weighted(0.25), prop::bool::weighted(0.05), -1i32..2).prop_map(
        |(prefetch, no_ack, exclusive, priority)| ConsumerSpec {
            prefetch,
            no_ack,
            exclusive,
            priority,
            ..ConsumerSpec::default()
        },
    )
}

fn how() -> impl Strategy<Value = Settle> {
    prop_oneof![
        3 => Just(Settle::Ack),
        1 => Just(Settle::Reject),
        3 => Just(Settle::Requeue),
        2 => Just(Settle::Fail),
        1 => Just(Settle::Unsent)
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let who = 0..64usize;
    let pick = prop_oneof![1 => Just(Pick::All), 3 => any::<u16>().prop_map(Pick::Some)];
    prop_oneof![
        10 => (1..6usize, 8..40usize, timing())
            .prop_map(|(count, size, timing)| Step::Publish { count, size, timing }),
        1 => (1..80usize, timing()).prop_map(|(count, timing)| Step::Publish { count, size: 8, timing }),
        4 => any::<bool>().prop_map(|no_ack| Step::Get { no_ack }),
        6 => (spec(), 0..20usize, prop::bool::weighted(0.7))
            .prop_map(|(spec, room, active)| Step::Consume { spec, room, active }),
        6 => (who.clone(), prop::bool::weighted(0.8))
            .prop_map(|(who, active)| Step::SetActive { who, active }),
        2 => who.clone().prop_map(|who| Step::Cancel { who }),
        14 => (who.clone(), pick, how()).prop_map(|(who, pick, how)| Step::Settle { who, pick, how }),
        6 => (who.clone(), 0..12usize).prop_map(|(who, room)| Step::Room { who, room }),
        1 => who.prop_map(|who| Step::Hangup { who }),
        1 => any::<bool>().prop_map(|all| if all { Step::Restart } else { Step::Purge }),
        30 => Just(Step::Deliver),
        6 => (0..40u64).prop_map(Step::Pass),
        1 => settings().prop_map(Step::Rules),
        1 => Just(Step::Touch),
        3 => (1..9usize, prop_oneof![2 => Just(0), 1 => any::<u16>()])
            .prop_map(|(most, stuck)| Step::Bury { most, stuck }),
        1 => Just(Step::TryAgain),
        5 => prop::bool::weighted(0.3).prop_map(|all| Step::Relieve { all }),
        2 => Just(Step::Fold),
        2 => (0..3000u64).prop_map(|bytes| Step::Spill { bytes }),
        1 => Just(Step::Rewrite),
        1 => (0..64usize).prop_map(|which| Step::Damage { which }),
        5 => Just(Step::Load),
    ]
}
