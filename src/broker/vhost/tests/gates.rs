//! When replies may leave: a journal that moves only when told shows what waits for what.

use super::*;
use crate::broker::events::INTERNAL;

struct Stepped {
    vhost: Arc<VHost>,
    journal: Arc<Journal>,
}

impl Stepped {
    fn new() -> Self {
        let journal = Arc::new(Journal::stepped());
        Self { vhost: VHost::empty("/", journal.clone()), journal }
    }

    fn is_open(&self, gate: Gate) -> bool {
        gate.is_open(self.journal.progress())
    }

    /// Everything appended so far is written, and durable too if so said.
    fn advance(&self, durable: bool) {
        let end = self.journal.end();
        let durable = if durable { end } else { Lsn::ZERO };
        self.journal.advance(Progress { written: end, durable });
    }

    /// The reply waits until the journal is durable to its present end.
    #[track_caller]
    fn waits_for_the_end(&self, what: &str, gate: Gate) {
        assert_eq!(gate, Gate::durable(self.journal.end()), "{what}");
        assert!(!self.is_open(gate), "{what}");
    }
}

#[test]
fn a_durable_change_waits_for_the_disk_and_a_transient_one_for_nothing() {
    let it = Stepped::new();
    let gate = it.vhost.declare_queue(durable_queue("d"), ME).unwrap().gate;
    it.waits_for_the_end("declare", gate);
    it.advance(false);
    assert!(!it.is_open(gate), "written is not enough");
    let second = it.vhost.declare_queue(durable_queue("e"), ME).unwrap().gate;
    it.journal.advance(Progress { written: gate.durable, durable: gate.durable });
    assert!(it.is_open(gate) && !it.is_open(second));

    let end = it.journal.end();
    assert_eq!(it.vhost.declare_queue(queue("t"), ME).unwrap().gate, Gate::OPEN);
    assert_eq!(it.vhost.declare_exchange(exchange("tx", "fanout")).unwrap(), Gate::OPEN);
    assert_eq!(it.vhost.bind(to_queue("tx", "d", ""), ME).unwrap(), Gate::OPEN, "one end is transient");
    assert_eq!(it.vhost.bind(to_queue("amq.fanout", "t", ""), ME).unwrap(), Gate::OPEN);
    assert_eq!(it.vhost.unbind(to_queue("tx", "d", ""), ME).unwrap(), Gate::OPEN);
    assert_eq!(it.vhost.delete_queue("t", false, false, ME).unwrap().1, Gate::OPEN);
    assert_eq!(it.vhost.delete_exchange("tx", false, INTERNAL).unwrap(), Gate::OPEN);
    assert_eq!(it.journal.end(), end, "what is transient leaves no record");
}

#[test]
fn each_durable_change_has_its_record() {
    let it = Stepped::new();
    let durable = ExchangeDeclare { durable: true, ..exchange("x", "fanout") };
    let mut ends = vec![it.journal.end()];
    let mut next = |what: &str, gate: Gate| {
        it.waits_for_the_end(what, gate);
        assert!(Some(&gate.durable) > ends.last(), "{what} has a record");
        ends.push(gate.durable);
    };
    next("queue", it.vhost.declare_queue(durable_queue("d"), ME).unwrap().gate);
    next("exchange", it.vhost.declare_exchange(durable).unwrap());
    next("bind", it.vhost.bind(to_queue("x", "d", ""), ME).unwrap());
    next("unbind", it.vhost.unbind(to_queue("x", "d", ""), ME).unwrap());
    next("exchange delete", it.vhost.delete_exchange("x", false, INTERNAL).unwrap());
    next("queue delete", it.vhost.delete_queue("d", false, false, ME).unwrap().1);
}

/// Another connection's change that made it so may not be durable yet.
#[test]
fn a_reply_that_changed_nothing_waits_for_the_last_change() {
    let it = Stepped::new();
    let durable = ExchangeDeclare { durable: true, ..exchange("x", "fanout") };
    it.vhost.declare_queue(durable_queue("d"), OTHER).unwrap();
    it.vhost.declare_exchange(durable).unwrap();
    it.vhost.bind(to_queue("x", "d", ""), OTHER).unwrap();
    let end = it.journal.end();
    let vhost = &it.vhost;
    it.waits_for_the_end("equal declare", vhost.declare_queue(durable_queue("d"), ME).unwrap().gate);
    it.waits_for_the_end("passive declare", vhost.find_declared("d", ME).unwrap().gate);
    it.waits_for_the_end("equal exchange", vhost.declare_exchange(durable).unwrap());
    it.waits_for_the_end("passive exchange", vhost.find_exchange("x").unwrap());
    it.waits_for_the_end("repeated bind", vhost.bind(to_queue("x", "d", ""), ME).unwrap());
    it.waits_for_the_end("unbind of a missing key", vhost.unbind(to_queue("x", "d", "k"), ME).unwrap());
    it.waits_for_the_end("unbind of a missing queue", vhost.unbind(to_queue("x", "gone", ""), ME).unwrap());
    it.waits_for_the_end(
        "delete of a missing queue",
        vhost.delete_queue("gone", false, false, ME).unwrap().1,
    );
    it.waits_for_the_end(
        "delete of a missing exchange",
        vhost.delete_exchange("gone", false, INTERNAL).unwrap(),
    );
    assert_eq!(it.journal.end(), end, "none of them has a record");
    it.advance(true);
    let gate = vhost.find_declared("d", ME).unwrap().gate;
    assert!(it.is_open(gate), "once all is durable, nothing waits");
    publish(&vhost.find_queue("d", ME).unwrap(), true);
    let gate = vhost.find_declared("d", ME).unwrap().gate;
    assert!(it.is_open(gate), "a message that came since is no definition");
    vhost.declare_queue(queue("t"), ME).unwrap();
    assert_eq!(vhost.declare_queue(queue("t"), ME).unwrap().gate, Gate::OPEN);
    assert_eq!(vhost.find_declared("t", ME).unwrap().gate, Gate::OPEN);
}

#[test]
fn a_durable_exchange_that_goes_with_a_transient_queue_is_waited_for() {
    let it = Stepped::new();
    let auto_delete = ExchangeDeclare { durable: true, auto_delete: true, ..exchange("x", "fanout") };
    it.vhost.declare_exchange(auto_delete).unwrap();
    it.vhost.declare_queue(queue("t"), ME).unwrap();
    it.vhost.bind(to_queue("x", "t", ""), ME).unwrap();
    let before = it.journal.end();
    let (_, gate) = it.vhost.delete_queue("t", false, false, ME).unwrap();
    it.waits_for_the_end("delete", gate);
    assert!(gate.durable > before);
}

#[test]
fn only_a_persistent_message_in_a_durable_queue_has_to_be_kept() {
    let it = Stepped::new();
    let durable = it.vhost.declare_queue(durable_queue("d"), ME).unwrap().cell;
    let transient = it.vhost.declare_queue(queue("t"), ME).unwrap().cell;
    assert_eq!(publish(&transient, true), Lsn::ZERO);
    assert_eq!(publish(&durable, false), Lsn::ZERO);
    let before = it.journal.end();
    assert!(publish(&durable, true) > before);
    let before = it.journal.end();
    let settled = durable.settle(None, std::iter::empty(), Settle::Ack);
    assert_eq!(settled, before, "nothing outstanding, nothing journaled");
    assert!(matches!(durable.get(false, &Outlet::new()), GetResult::Got(_)));
    assert_eq!(it.journal.end().0 - before.0, 1, "how far it was delivered is marked, well ahead");
    let before = it.journal.end();
    assert!(matches!(durable.get(false, &Outlet::new()), GetResult::Got(_)));
    durable.settle(None, [Position(0)].into_iter(), Settle::Ack);
    assert_eq!(it.journal.end(), before, "the transient one leaves as it came");
    durable.settle(None, [Position(1)].into_iter(), Settle::Requeue);
    assert_eq!(it.journal.end(), before, "it has not left");
    assert_eq!(durable.purge().0, 1);
    assert!(it.journal.end() > before);
}
