//! Which connections share a task, with connections that only call each other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::task::{self, yield_now};
use tokio_util::task::TaskTracker;

use super::*;

const SMALL_ONES: Moved = Moved { deliveries: FED, bytes: FED * SMALL };

/// What a test sees of a connection, and tells it to do.
#[derive(Default)]
struct Shared {
    task: Mutex<Option<task::Id>>,
    turns: AtomicUsize,
    over: AtomicBool,
    /// What each turn moves.
    moves: Mutex<Moved>,
    /// Whom each turn calls.
    calls: Mutex<Vec<Waker>>,
}

struct Fake(Arc<Shared>);

impl Member for Fake {
    fn turn(&mut self, _: &mut Context<'_>) -> Poll<()> {
        *self.0.task.lock() = task::try_id();
        self.0.turns.fetch_add(1, Ordering::Relaxed);
        self.0.calls.lock().iter().for_each(Waker::wake_by_ref);
        if self.0.over.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn moved(&self) -> Moved {
        *self.0.moves.lock()
    }

    fn peer(&mut self) -> &str {
        "a peer"
    }
}

/// A connection that is served.
struct Client {
    shared: Arc<Shared>,
    waker: Waker,
}

impl Client {
    fn new(tracker: &TaskTracker) -> Self {
        let (shared, seat) = (Arc::new(Shared::default()), Seat::new());
        let waker = Waker::from(seat.clone());
        tokio::spawn(Task::new(Box::new(Fake(shared.clone())), seat, tracker.token()));
        Self { shared, waker }
    }

    /// One that takes so much in each turn.
    fn that_takes(tracker: &TaskTracker, moved: Moved) -> Self {
        let client = Self::new(tracker);
        client.takes(moved);
        client
    }

    fn takes(&self, moved: Moved) {
        *self.shared.moves.lock() = moved;
    }

    fn feeds(&self, consumers: &[&Self]) {
        *self.shared.calls.lock() = consumers.iter().map(|consumer| consumer.waker.clone()).collect();
    }

    /// Has so many turns, of which each other connection has what follows.
    async fn has_turns(&self, turns: u32) {
        for _ in 0..turns {
            self.waker.wake_by_ref();
            settle().await;
        }
    }

    async fn ends(&self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.has_turns(1).await;
    }

    fn is_with(&self, other: &Self) -> bool {
        let task = *self.shared.task.lock();
        task.is_some() && task == *other.shared.task.lock()
    }

    fn turns(&self) -> usize {
        self.shared.turns.load(Ordering::Relaxed)
    }
}

/// All tasks have done what they can.
async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

/// A publisher that feeds a consumer which has moved in with it.
async fn pair(tracker: &TaskTracker) -> (Client, Client) {
    let (publisher, consumer) = (Client::new(tracker), Client::that_takes(tracker, SMALL_ONES));
    settle().await;
    assert!(!consumer.is_with(&publisher));
    publisher.feeds(&[&consumer]);
    publisher.has_turns(CALLS + 1).await;
    assert!(consumer.is_with(&publisher));
    (publisher, consumer)
}

#[tokio::test]
async fn a_consumer_moves_in_with_who_feeds_it_and_has_its_turns_there() {
    let tracker = TaskTracker::new();
    let (publisher, consumer) = pair(&tracker).await;
    assert_eq!(tracker.len(), 2);
    let (before, consumed) = (publisher.turns(), consumer.turns());
    publisher.has_turns(5 * VISIT).await;
    assert!(consumer.is_with(&publisher));
    assert_eq!(publisher.turns() - before, 5 * VISIT as usize, "it is not woken for its guest");
    assert_eq!(consumer.turns() - consumed, 5 * VISIT as usize);
    consumer.has_turns(1).await;
    assert_eq!(consumer.turns() - consumed, 5 * VISIT as usize + 1, "others can wake it");
    consumer.ends().await;
    publisher.ends().await;
    tracker.close();
    tracker.wait().await;
}

#[tokio::test]
async fn few_or_large_deliveries_move_nobody() {
    let tracker = TaskTracker::new();
    let few = Moved { deliveries: FED - 1, bytes: 0 };
    let large = Moved { deliveries: FED, bytes: FED * SMALL + 1 };
    for moved in [few, large] {
        let (publisher, consumer) = (Client::new(&tracker), Client::that_takes(&tracker, moved));
        publisher.feeds(&[&consumer]);
        publisher.has_turns(10 * CALLS).await;
        assert!(!consumer.is_with(&publisher), "{moved:?}");
    }
}

#[tokio::test]
async fn who_is_fed_by_two_in_turn_stays_alone() {
    let tracker = TaskTracker::new();
    let (one, other) = (Client::new(&tracker), Client::new(&tracker));
    let consumer = Client::that_takes(&tracker, SMALL_ONES);
    one.feeds(&[&consumer]);
    other.feeds(&[&consumer]);
    for _ in 0..10 * CALLS {
        one.has_turns(1).await;
        other.has_turns(1).await;
    }
    assert!(!consumer.is_with(&one) && !consumer.is_with(&other));
}

#[tokio::test]
async fn a_publisher_has_one_guest_and_room_for_the_next_when_it_is_over() {
    let tracker = TaskTracker::new();
    let (publisher, consumer) = pair(&tracker).await;
    let second = Client::that_takes(&tracker, SMALL_ONES);
    publisher.feeds(&[&consumer, &second]);
    publisher.has_turns(10 * CALLS).await;
    assert!(consumer.is_with(&publisher) && !second.is_with(&publisher));
    consumer.ends().await;
    publisher.has_turns(2 * CALLS).await;
    assert!(second.is_with(&publisher));
}

#[tokio::test]
async fn a_guest_outlives_its_host() {
    let tracker = TaskTracker::new();
    let (publisher, consumer) = pair(&tracker).await;
    publisher.ends().await;
    assert_eq!(tracker.len(), 1);
    let before = consumer.turns();
    consumer.has_turns(1).await;
    assert_eq!(consumer.turns(), before + 1);
    let next = Client::new(&tracker);
    next.feeds(&[&consumer]);
    next.has_turns(2 * CALLS).await;
    assert!(consumer.is_with(&next));
}

#[tokio::test]
async fn a_guest_that_is_not_fed_with_small_ones_by_its_host_moves_out() {
    let tracker = TaskTracker::new();
    let (publisher, consumer) = pair(&tracker).await;
    consumer.takes(Moved { deliveries: STILL_FED - 1, bytes: 0 });
    publisher.has_turns(2 * VISIT).await;
    assert!(!consumer.is_with(&publisher), "little comes");

    let (publisher, consumer) = pair(&tracker).await;
    consumer.takes(Moved { deliveries: FED, bytes: 2 * FED * SMALL + 1 });
    publisher.has_turns(2 * VISIT).await;
    assert!(!consumer.is_with(&publisher), "what comes is large");

    let (publisher, consumer) = pair(&tracker).await;
    let other = Client::new(&tracker);
    publisher.feeds(&[]);
    other.feeds(&[&consumer]);
    other.has_turns(2 * VISIT).await;
    assert!(!consumer.is_with(&publisher), "nothing comes from its host");
}

#[tokio::test]
async fn two_that_feed_each_other_both_have_their_turns() {
    let tracker = TaskTracker::new();
    let (one, other) = (Client::that_takes(&tracker, SMALL_ONES), Client::that_takes(&tracker, SMALL_ONES));
    settle().await;
    one.feeds(&[&other]);
    other.feeds(&[&one]);
    one.has_turns(2 * CALLS).await;
    let before = (one.turns(), other.turns());
    settle().await;
    assert!(one.turns() > before.0 && other.turns() > before.1);
    for client in [&one, &other] {
        client.feeds(&[]);
        client.ends().await;
    }
    tracker.close();
    tracker.wait().await;
}
