"""What clients know of their messages: the ledger that the broker's memory is judged by after a crash.

It lives outside the broker. Of each copy of a message (one in each queue it was routed to) it knows whether the broker
has promised to keep it, and whether it was taken. Where a crash leaves something open, either outcome is right; what an
audit finds then is settled, and must not change any more.
"""

import itertools
import threading

from durability import message

# How far the removal of a copy has gone.
KEPT, ASKED, GONE = 0, 1, 2
# How far a delivery of it has gone.
NEVER, SEEN, MARKED = 0, 1, 2


class Copy:
    """A message in one queue."""

    __slots__ = ("delivered", "removal")

    def __init__(self):
        self.removal = KEPT
        self.delivered = NEVER


class Sent:
    """A message that was published."""

    __slots__ = ("channel", "confirmed", "copies", "possible", "size", "uid")

    def __init__(self, uid, channel, queues, size, possible):
        self.uid = uid
        self.channel = channel
        self.size = size
        self.copies = {queue: Copy() for queue in queues}
        self.confirmed = False
        self.possible = possible


class Transaction:
    """What one transaction published and acknowledged: lists of (message, queue)."""

    def __init__(self):
        self.published = []
        self.acknowledged = []
        self.committing = False
        self.committed = False


class Ledger:
    """All messages that may be in the broker. Threads share it; each copy is changed by one thread at a time."""

    def __init__(self):
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.messages = {}
        self.by_queue = {}
        self.transactions = []
        self.purges = []
        self.errors = []
        self.heavy = False
        """Whether long backlogs are published now."""
        self.counts = dict.fromkeys(("published", "confirmed", "acknowledged", "transactions", "audited"), 0)

    def fail(self, text):
        """Notes that a promise was broken."""
        self.errors.append(text)

    def sent(self, channel, queues, size, possible=True):
        """A new message, about to be published."""
        with self._lock:
            uid = next(self._numbers)
            entry = Sent(uid, channel, queues, size, possible)
            self.messages[uid] = entry
            for queue in queues:
                self.by_queue.setdefault(queue, {})[uid] = entry
            self.counts["published"] += 1
        return entry

    def confirmed(self, entry):
        """The broker has promised to keep it."""
        entry.confirmed = True
        self.counts["confirmed"] += 1

    def delivered(self, queue, redelivered, content):
        """A live delivery. Answers the message, or None if it should not exist."""
        entry = self._check(queue, redelivered, content, "delivered")
        if entry is not None:
            copy = entry.copies[queue]
            copy.delivered = max(copy.delivered, SEEN)
        return entry

    def _check(self, queue, redelivered, content, how):
        try:
            uid = message.number_of(content)
        except (KeyError, ValueError):
            self.fail(f"{queue}: {how} a message nobody sent: {content.properties} {content.body[:40]!r}")
            return None
        entry = self.by_queue.get(queue, {}).get(uid)
        if entry is None:
            self.fail(f"{queue}: {how} message {uid}, which was never sent to it or is gone for good")
            return None
        copy = entry.copies[queue]
        if not entry.possible:
            self.fail(f"{queue}: {how} message {uid} of a transaction that was not committed")
        if copy.removal == GONE:
            self.fail(f"{queue}: {how} message {uid}, whose removal was certain")
        if copy.delivered == MARKED and not redelivered:
            self.fail(f"{queue}: {how} message {uid} again, and not as redelivered")
        if not message.is_intact(content, uid, entry.size):
            self.fail(f"{queue}: {how} message {uid} of {entry.size} bytes, and it is not what was sent")
        return entry

    def forget(self, queue, uid):
        """A copy is gone for good."""
        entry = self.by_queue[queue].pop(uid)
        del entry.copies[queue]
        if not entry.copies:
            self.messages.pop(uid, None)

    def drop_queue(self, queue):
        """The queue was deleted for certain."""
        for uid in list(self.by_queue.get(queue, {})):
            self.forget(queue, uid)

    # ---------------------------------------------------------------------------------------------- audit

    def audit(self, found):
        """Judges what is in all queues: `found` has for each one its (redelivered, content) in order."""
        present = {}
        for queue, contents in found.items():
            present[queue] = self._audit_queue(queue, contents)
        self._audit_transactions(present)
        self._audit_purges(present)
        for queue in set(self.by_queue) | set(present):
            self._settle_queue(queue, present.get(queue, set()))
        self.transactions.clear()
        self.purges.clear()

    def _audit_queue(self, queue, contents):
        seen = set()
        last = {}
        for redelivered, content in contents:
            entry = self._check(queue, redelivered, content, "kept")
            self.counts["audited"] += 1
            if entry is None:
                continue
            if entry.uid in seen:
                self.fail(f"{queue}: message {entry.uid} is there twice")
            seen.add(entry.uid)
            if entry.uid < last.get(entry.channel, 0):
                self.fail(f"{queue}: message {entry.uid} stands behind {last[entry.channel]} of the same channel")
            last[entry.channel] = entry.uid
        missing = [
            uid
            for uid, entry in self.by_queue.get(queue, {}).items()
            if entry.confirmed and entry.copies[queue].removal == KEPT and uid not in seen
        ]
        if missing:
            self.fail(f"{queue}: LOST {len(missing)} confirmed messages: {missing[:20]}")
        return seen

    def _audit_transactions(self, present):
        for transaction in self.transactions:
            done = [
                entry.uid in present.get(queue, ())
                for entry, queue in transaction.published
                if queue in entry.copies and entry.copies[queue].removal == KEPT
            ]
            done += [entry.uid not in present.get(queue, ()) for entry, queue in transaction.acknowledged]
            if transaction.committed and not all(done):
                self.fail(f"a committed transaction is not whole: {done}")
            if not transaction.committing and any(done):
                self.fail(f"a transaction took effect without a commit: {done}")
            if len(set(done)) > 1:
                self.fail(f"a transaction was torn: {done}")

    def _audit_purges(self, present):
        for queue, uids in self.purges:
            left = [uid in present.get(queue, ()) for uid in uids if uid in self.by_queue.get(queue, {})]
            if len(set(left)) > 1:
                self.fail(f"{queue}: a purge was torn: {left.count(True)} of {len(left)} are still there")

    def _settle_queue(self, queue, seen):
        for uid, entry in list(self.by_queue.get(queue, {}).items()):
            if uid not in seen:
                self.forget(queue, uid)
                continue
            copy = entry.copies[queue]
            copy.removal = KEPT
            entry.confirmed = True
            entry.possible = True
