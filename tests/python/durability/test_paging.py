"""Queues longer than what is kept of them in memory: what comes out is what went in, however it is taken.

The journal is small, so that messages leave it for segments while they are published, and again while they are taken.
"""

import threading
from contextlib import suppress

import pytest

from durability import message
from durability.backlog import (
    MIB,
    Backlog,
    ack,
    confirms,
    count,
    disk_bytes,
    drain,
    drain_by_get,
    kilobyte,
    resident,
    segments,
    take,
    wait_for_segments,
)
from durability.link import Gone, Link
from durability.strace import ReaderFaults
from support.deadline import eventually
from wire import frames
from wire.client import Silence

pytestmark = [pytest.mark.own_broker, pytest.mark.timeout(120)]

SMALL = {"storage.journal_file": "256KiB", "storage.journal_budget": "512KiB"}
LONG = 20 * MIB
"""Several times what a queue keeps in memory."""
SHORT = 8 * MIB
"""Twice that."""
KEPT = 3 * (MIB // 4 + MIB + MIB // 4) + MIB // 2
"""What may be left on disk with nothing in any queue: the journal's file and two spare ones, each as long as set with
one group more than that and zeros ahead of it, and the catalogue."""


def link_to(broker):
    """A new link."""
    return Link((broker.host, broker.port))


@pytest.fixture
def paged(on):
    """`paged(bytes)`: a broker, a link, and a backlog of so many bytes in "q" of which segments have most."""

    def start(total=LONG, size=None, settings=None, mode=None, **queue):
        broker = on(SMALL | (settings or {}))
        link = link_to(broker)
        link.call("queue.declare", queue="q", **({"durable": True} | queue))
        backlog = Backlog(**({"size": size} if size else {}), mode=mode)
        backlog.publish(link, total)
        wait_for_segments(broker.data_dir)
        return broker, link, backlog

    return start


def expect_space_back(broker):
    """Nothing is in any queue: soon the segments are gone and little is left of the journal."""
    eventually(lambda: not segments(broker.data_dir), "the segments are gone", 20)
    eventually(lambda: disk_bytes(broker.data_dir) < KEPT, "the journal is small again", 20)


def no_complaints(broker):
    """Nothing went wrong by the log, but for the question after a queue that is gone."""
    wrong = [record for record in broker.complaints() if record["message"] != "channel closed"]
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("prefetch", [0, 1, 10, 1000])
def test_consumers_get_a_long_backlog_in_order(paged, prefetch):
    broker, link, backlog = paged()
    assert count(link) == backlog.last
    backlog.check(drain(link, backlog.last, prefetch=prefetch), range(1, backlog.last + 1))
    assert count(link) == 0
    expect_space_back(broker)
    no_complaints(broker)


def test_a_consumer_that_does_not_acknowledge_gets_it_in_order(paged):
    broker, link, backlog = paged(2 * LONG)
    backlog.check(drain(link, backlog.last, no_ack=True, prefetch=0), range(1, backlog.last + 1))
    assert count(link) == 0
    expect_space_back(broker)
    no_complaints(broker)


@pytest.mark.parametrize("pipelined", [1, 7, 500])
def test_gets_of_a_long_backlog_are_answered_in_order(paged, pipelined):
    """The answer comes when the message has been read; what is asked for next waits its turn behind it."""
    broker, link, backlog = paged()
    backlog.check(drain_by_get(link, backlog.last, pipelined=pipelined), range(1, backlog.last + 1))
    assert link.get("q") is None
    expect_space_back(broker)
    no_complaints(broker)


def test_gets_behind_others_on_one_channel_and_on_others(on):
    """After a restart nothing is in memory: gets of two queues and a declare come back in the order they were sent."""
    broker = on(SMALL)
    link = link_to(broker)
    backlogs = {}
    for queue in ("a", "b"):
        link.call("queue.declare", queue=queue, durable=True)
        backlogs[queue] = Backlog()
        backlogs[queue].publish(link, SHORT, queue)
    link.call("queue.declare", queue="empty", durable=True)
    broker.kill()
    broker = on(SMALL)
    link, other = link_to(broker), link_to(broker)
    for uid in range(1, 200):
        for queue in ("a", "b", "empty"):
            link.send(frames.method("basic.get", queue=queue, no_ack=True))
        link.send(frames.method("queue.declare", queue="empty", passive=True))
        first, second, third = take(link, 3)
        backlogs["a"].check([first], [uid])
        backlogs["b"].check([second], [uid])
        assert third.uid is None
        link.wait("queue.declare-ok")
        assert count(other, "empty") == 0


def test_memory_stays_small_with_a_large_backlog(paged):
    """And a large part of it is delivered and not acknowledged."""
    broker, link, backlog = paged(50 * MIB, kilobyte)
    # 20 MiB of it are what the hash of a password took, which the allocator keeps; 6 are the program's, with its management API.
    small = 122 * MIB
    eventually(lambda: resident(broker) < small, lambda: f"memory is small: {resident(broker)}", 20)
    backlog.publish(link, 50 * MIB)
    eventually(lambda: resident(broker) < small, lambda: f"memory is small with twice as much: {resident(broker)}", 20)
    taker = link_to(broker)
    taker.call("basic.consume", queue="q")
    held = take(taker, backlog.last // 2)
    backlog.check(held, range(1, backlog.last // 2 + 1))
    eventually(lambda: resident(broker) < small, lambda: f"memory is small with half of it out: {resident(broker)}", 20)


@pytest.mark.parametrize("how", ["nack", "reject", "recover", "close", "drop"])
def test_what_comes_back_takes_its_place_and_is_flagged(paged, how):
    """Its body has left memory when it was delivered, and is read again."""
    broker, link, backlog = paged(SHORT)
    taker = link_to(broker)
    third = backlog.last // 3
    taker.call("basic.qos", prefetch_count=third)
    taker.call("basic.consume", queue="q", consumer_tag="c")
    first = take(taker, third)
    backlog.check(first, range(1, third + 1))
    gone = [delivery for delivery in first if delivery.uid % 3 == 0]
    for delivery in gone:
        ack(taker, delivery.tag, multiple=False)
    # The ones that took their place.
    more = take(taker, len(gone))
    backlog.check(more, range(third + 1, third + len(gone) + 1))
    taker.call("basic.cancel", consumer_tag="c")
    if how == "nack":
        taker.send(frames.method("basic.nack", delivery_tag=0, multiple=True, requeue=True))
        taker.call("queue.declare", queue="q", passive=True)
    elif how == "reject":
        # From the last to the first.
        for delivery in reversed([one for one in first + more if one not in gone]):
            taker.send(frames.method("basic.reject", delivery_tag=delivery.tag, requeue=True))
        taker.call("queue.declare", queue="q", passive=True)
    elif how == "recover":
        taker.call("basic.recover", requeue=True)
    elif how == "close":
        taker.call("channel.close", reply_code=200)
    else:
        taker.peer.drop()
    left = backlog.last - len(gone)
    eventually(lambda: count(link) == left, f"{left} messages are ready")
    found = drain(link, left)
    again = third - len(gone) + len(more)
    expected = [uid for uid in range(1, backlog.last + 1) if uid > third or uid % 3]
    backlog.check(found[:again], expected[:again], redelivered=True)
    backlog.check(found[again:], expected[again:])
    no_complaints(broker)


def test_a_rejected_head_comes_again_at_once(paged):
    """One message goes to and fro in front of a long backlog."""
    _, link, backlog = paged(SHORT)
    link.call("basic.qos", prefetch_count=1)
    link.call("basic.consume", queue="q")
    for times in range(300):
        (delivery,) = take(link, 1)
        backlog.check([delivery], [1], redelivered=times > 0)
        link.send(frames.method("basic.nack", delivery_tag=delivery.tag, requeue=True))


def test_several_consumers_share_a_paged_queue(paged):
    """Each message comes once; each consumer gets its own in order."""
    broker, link, backlog = paged()
    shares, lock, done = {}, threading.Lock(), threading.Event()

    def work(number, prefetch):
        with suppress(Gone):
            work_until_the_end(number, prefetch)

    def work_until_the_end(number, prefetch):
        taker = link_to(broker)
        taker.call("basic.qos", prefetch_count=prefetch)
        taker.call("basic.consume", queue="q")
        while not done.is_set():
            method, content = taker.next(patience=60)
            uid = message.number_of(content)
            good = message.is_intact(content, uid, backlog.size(uid))
            with lock:
                shares[number].append((uid, good, method.args["redelivered"]))
                if sum(map(len, shares.values())) == backlog.last:
                    done.set()
            ack(taker, method.number("delivery_tag"), multiple=False)
        taker.call("queue.declare", queue="q", passive=True)

    threads = []
    for number, prefetch in enumerate((1, 5, 50, 200)):
        shares[number] = []
        threads.append(threading.Thread(target=work, args=(number, prefetch), daemon=True))
    for thread in threads:
        thread.start()
    assert done.wait(60), {number: len(share) for number, share in shares.items()}
    assert count(link) == 0
    everything = sorted(entry for share in shares.values() for entry in share)
    assert [uid for uid, _, _ in everything] == list(range(1, backlog.last + 1))
    assert all(good and not redelivered for _, good, redelivered in everything)
    assert all(share == sorted(share) for share in shares.values())


def test_a_consumer_of_higher_priority_goes_first(paged):
    """It gets what there is as long as it has credit; the other one the rest."""
    _, link, backlog = paged(SHORT)
    high = link
    high.call("basic.qos", prefetch_count=100)
    high.call("basic.consume", queue="q", consumer_tag="high", arguments={"x-priority": 5})
    backlog.check(take(high, 100), range(1, 101))
    low = link_to_same(link)
    low.call("basic.qos", prefetch_count=50)
    low.call("basic.consume", queue="q", consumer_tag="low")
    backlog.check(take(low, 50), range(101, 151))
    ack(high, 100)
    backlog.check(take(high, 100), range(151, 251))


def link_to_same(link):
    """Another link to the same broker."""
    return Link(link.peer.sock.getpeername())


@pytest.mark.parametrize("how", ["purge", "delete"])
def test_purge_and_delete_of_a_paged_queue(paged, how):
    """Both are answered with the right count, and the space comes back within seconds. Unacknowledged ones stay."""
    broker, link, backlog = paged()
    taker = link_to(broker)
    taker.call("basic.qos", prefetch_count=20)
    taker.call("basic.consume", queue="q")
    held = take(taker, 20)
    answer = link.call(f"queue.{how}", queue="q")
    assert answer.number("message_count") == backlog.last - 20, answer
    if how == "purge":
        assert count(link) == 0
        first = backlog.last + 1
        backlog.publish(link, 30_000)
        taker.send(frames.method("basic.nack", delivery_tag=held[-1].tag, multiple=True, requeue=True))
        backlog.check(take(taker, 20), range(1, 21), redelivered=True)
        ack(taker, 0)
        backlog.check(take_and_ack(taker, backlog.last - first + 1, 10), range(first, backlog.last + 1))
        taker.call("queue.declare", queue="q", passive=True)
    else:
        assert not link.exists("queue", "q")
    expect_space_back(broker)
    no_complaints(broker)


def test_a_queue_that_is_deleted_while_it_is_read(paged, on):
    """Again and again: gets that wait for the disk are answered with 404, and nothing else is harmed."""
    broker, link, backlog = paged(SHORT)
    keeper = Backlog()
    link.call("queue.declare", queue="keep", durable=True)
    keeper.publish(link, SHORT, "keep")
    for _ in range(3):
        getter = link_to(broker)
        getter.send(frames.method("basic.get", queue="q") * 50)
        take(getter, 5)
        link.call("queue.delete", queue="q")
        link.call("queue.declare", queue="q", durable=True)
        before = backlog.last
        backlog.publish(link, SHORT)
        getter.peer.drop()
        eventually(lambda: count(link) >= backlog.last - before - 45, "what was taken by the rest is back")
    keeper.check(drain(link, keeper.last, "keep"), range(1, keeper.last + 1))
    broker.kill()
    broker = on(SMALL)
    link = link_to(broker)
    assert count(link, "keep") == 0
    left = count(link)
    found = drain(link, left)
    backlog.check(found, range(backlog.last - left + 1, backlog.last + 1), redelivered=None)


def test_fan_out_to_queues_that_are_taken_at_different_speed(on):
    """Five queues have the same messages; one body serves all, and goes when the last one is through."""
    broker = on(SMALL)
    link = link_to(broker)
    link.call("exchange.declare", exchange="all", type="fanout", durable=True)
    queues = [f"q{number}" for number in range(5)]
    for queue in queues:
        link.call("queue.declare", queue=queue, durable=True)
        link.call("queue.bind", queue=queue, exchange="all")
    backlog = Backlog()
    taken = dict.fromkeys(queues, 0)
    links = {queue: link_to(broker) for queue in queues}

    def take_some(queue, number):
        found = drain_by_get(links[queue], number, queue, pipelined=min(number, 100))
        backlog.check(found, range(taken[queue] + 1, taken[queue] + number + 1))
        taken[queue] += number

    for _ in range(3):
        before = backlog.last
        backlog.publish(link, LONG // 3, "", "all")
        new = backlog.last - before
        for speed, queue in enumerate(queues):
            if speed:
                take_some(queue, new * speed // 4)
    for queue in reversed(queues):
        assert count(link, queue) == backlog.last - taken[queue]
        if taken[queue] < backlog.last:
            take_some(queue, backlog.last - taken[queue])
    expect_space_back(broker)
    no_complaints(broker)


def test_transactions_over_paged_queues(paged, on):
    """Acknowledgements and publishes of a transaction take effect together, or not at all."""
    broker, link, backlog = paged(SHORT)
    link.call("queue.declare", queue="moved", durable=True)
    tx = link_to(broker)
    tx.call("tx.select")
    committed = 0
    for turn in range(30):
        tx.send(frames.method("basic.get", queue="q") * 100)
        some = take(tx, 100)
        backlog.check(some, range(committed + 1, committed + 101), redelivered=turn % 3 == 1)
        for delivery in some:
            tx.send(message.publish("", "moved", delivery.uid, backlog.size(delivery.uid)))
        ack(tx, some[-1].tag)
        if turn % 3 == 0:
            tx.call("tx.rollback")
            tx.send(frames.method("basic.nack", delivery_tag=some[-1].tag, multiple=True, requeue=True))
        else:
            committed += 100
        tx.call("tx.commit")
    assert count(link, "moved") == committed
    broker.kill()
    broker = on(SMALL)
    link = link_to(broker)
    assert count(link) == backlog.last - committed
    backlog.check(drain(link, committed, "moved"), range(1, committed + 1))
    backlog.check(drain(link, backlog.last - committed), range(committed + 1, backlog.last + 1), redelivered=None)


def test_empty_messages(paged, on):
    """A queue of nothing but messages without a body pages too, and so do those with headers only."""
    broker, link, backlog = paged(SHORT, lambda uid: 0 if uid % 20 else 20_000)
    assert backlog.last > 1000
    broker.kill()
    broker = on(SMALL)
    link = link_to(broker)
    assert count(link) == backlog.last
    backlog.check(drain(link, backlog.last), range(1, backlog.last + 1))


@pytest.mark.parametrize("way", ["consume", "get"])
def test_transient_messages_keep_their_place_among_paged_ones(paged, way):
    """Those that are not stored stay in memory while their neighbours leave it."""
    _, link, backlog = paged(mode=lambda uid: 1 if uid % 7 == 0 else 2)
    take_all = drain if way == "consume" else drain_by_get
    backlog.check(take_all(link, backlog.last), range(1, backlog.last + 1))


def test_publishing_and_consuming_at_once_behind_a_backlog(paged):
    """The head is read from segments while the tail goes to the journal."""
    broker, link, backlog = paged(SHORT)
    taker = link_to(broker)
    taker.call("basic.qos", prefetch_count=300)
    taker.call("basic.consume", queue="q")
    taken = 0
    while taken < 12_000:
        before = backlog.last
        backlog.publish(link, MIB)
        some = take_and_ack(taker, backlog.last - before)
        backlog.check(some, range(taken + 1, taken + len(some) + 1))
        taken += len(some)
    left = backlog.last - taken
    assert len(segments(broker.data_dir)) > 0
    backlog.check(take_and_ack(taker, left), range(taken + 1, backlog.last + 1))
    no_complaints(broker)


def take_and_ack(link, total, step=100):
    """Takes so many deliveries from a consumer that runs already, acknowledging every `step` of them."""
    found = []
    while len(found) < total:
        found += take(link, min(step, total - len(found)))
        ack(link, found[-1].tag)
    return found


def test_others_go_on_while_a_queue_is_read(paged, on):
    """A disk that takes seconds for a read holds back who waits for the message, and nobody else."""
    broker, link, backlog = paged(SHORT)
    broker.kill()
    broker = on(SMALL)
    link, other, third = link_to(broker), link_to(broker), link_to(broker)
    other.call("queue.declare", queue="other")
    third.call("queue.declare", queue="third")
    third.call("basic.consume", queue="third")
    with ReaderFaults(broker, "pread64:delay_enter=3000000:when=1..2"):
        link.send(frames.method("basic.get", queue="q"))
        other.call("confirm.select")
        for number in range(20):
            other.send(frames.publish("other", b"x"))
            confirms(other, 1)
            assert other.get("other", no_ack=True) is not None
            other.send(frames.publish("third", b"%d" % number))
            confirms(other, 1)
            assert third.next()[1].body == b"%d" % number
        assert count(other) == backlog.last
        with pytest.raises(Silence):
            link.peer.method(0.01)
        backlog.check(take(link, 1), [1])
