"""Each operation with the rights it needs, without each of them, without any, and with rights in another vhost only."""

import re

import pytest

from access.operations import GENERATED, OPERATIONS
from access.place import FULL, NOTHING, OTHER_VHOST, USER, VHOST
from support.messages import ready

RIGHTS = ["configure", "write", "read"]

pytestmark = pytest.mark.xdist_group("access")


def exactly(needs, lacking=None):
    """Patterns for these rights on these names and no others, but for the one that is lacking."""
    patterns = []
    for right in RIGHTS:
        names = [need for need in needs if need[0] == right and need != lacking]
        ends = [re.escape(name) + ("" if name == GENERATED else "$") for _, _, name in names]
        patterns.append(f"^({'|'.join(ends)})" if ends else "")
    return patterns


def told(need, vhost=VHOST):
    """The refusal for want of a right."""
    right, kind, name = need
    return f"ACCESS_REFUSED - {right} access to {kind} '{name}' in vhost '{vhost}' refused for user '{USER}'"


def check_refused(place, outcome, need):
    """Whether it was refused for want of this right, in so many words."""
    assert outcome is not None, "it was not refused"
    code, text = outcome
    generated = re.sub(f"{re.escape(GENERATED)}[^']+", GENERATED, text)
    assert (code, generated) == (403, place.says(told(need)))


def each_right():
    """The operations that need all of their rights, with the place of each of these. To look, any other would do."""
    named = [(name, OPERATIONS[name]) for name in cases() if not OPERATIONS[name].any_right]
    return [(name, at) for name, operation in named for at in range(len(operation._needs))]


def cases(need_some=True):
    """The operations, or those that need something."""
    return [name for name, operation in OPERATIONS.items() if operation._needs or not need_some]


@pytest.mark.parametrize("name", cases(need_some=False))
def test_exactly_the_rights_it_needs_are_enough(place, name):
    names, operation = place.made(), OPERATIONS[name]
    place.permit(*exactly(operation.needs(names)))
    assert place.outcome(operation.do, names) is None


@pytest.mark.parametrize(("name", "at"), each_right())
def test_without_one_of_them_it_is_refused(place, name, at):
    names, operation = place.made(), OPERATIONS[name]
    needs = operation.needs(names)
    place.permit(*exactly(needs, needs[at]))
    check_refused(place, place.outcome(operation.do, names), needs[at])
    # Rights on everything else are no help.
    lacking = f"^(?!{re.escape(needs[at][2])})"
    place.permit(*(lacking if right == needs[at][0] else ".*" for right in RIGHTS))
    check_refused(place, place.outcome(operation.do, names), needs[at])


@pytest.mark.parametrize("name", cases())
def test_rights_in_another_vhost_are_none_here(place, name):
    names, operation = place.made(), OPERATIONS[name]
    place.permit(*NOTHING)
    place.permit(*FULL, vhost=OTHER_VHOST)
    outcome = place.outcome(operation.do, names)
    if operation.any_right and place.is_rabbitmq:
        assert outcome is None, "RabbitMQ 3.10 asks for no right to look"
        return
    check_refused(place, outcome, operation.needs(names)[0])


@pytest.mark.parametrize("name", cases())
def test_rights_here_do_not_need_others_there(place, name):
    names, operation = place.made(), OPERATIONS[name]
    place.permit(*FULL)
    place.permit(*NOTHING, vhost=OTHER_VHOST)
    assert place.outcome(operation.do, names) is None


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.any_right])
def test_to_look_any_right_on_it_is_enough(place, name):
    names, operation = place.made(), OPERATIONS[name]
    ((_, kind, known),) = operation.needs(names)
    for right in RIGHTS:
        place.permit(*exactly([(right, kind, known)]))
        assert place.outcome(operation.do, names) is None
    if not place.is_rabbitmq:
        # Whether it exists is not told to somebody without rights.
        place.permit(*NOTHING)
        missing = place.outcome(lambda channel, _: channel.queue_declare("missing", passive=True), names)
        check_refused(place, missing, ("configure", "queue", "missing"))


def test_what_an_exchange_or_a_queue_hands_on_is_not_asked_about(place):
    names = place.made()
    place.permit("", f"^{re.escape(names.exchange)}$", f"^{re.escape(names.queue)}$")
    place.owner.queue_declare(f"{names.new}.lost", exclusive=True)
    place.owner.queue_bind(f"{names.new}.lost", names.alternate)

    def unroutable_and_rejected(channel, _):
        channel.basic_publish(names.exchange, "nowhere", b"x")
        method, _, _ = channel.basic_get(names.queue)
        channel.basic_reject(method.delivery_tag, requeue=False)

    assert place.outcome(unroutable_and_rejected, names) is None
    assert ready(place.owner, f"{names.new}.lost") == 2


ORDER = {
    "the default exchange before its rights": (
        lambda c, n: c.exchange_declare("", "direct"),
        "operation not permitted on the default exchange",
    ),
    "deleting the default exchange": (
        lambda c, n: c.exchange_delete(""),
        "operation not permitted on the default exchange",
    ),
    "predeclared exchanges before their rights": (
        lambda c, n: c.exchange_delete("amq.topic"),
        f"deletion of system exchange 'amq.topic' in vhost '{VHOST}' not allowed",
    ),
    "a binding to the default exchange": (
        lambda c, n: c.exchange_bind("", n.source, "k"),
        f"write access to exchange 'amq.default' in vhost '{VHOST}' refused for user '{USER}'",
    ),
    "rights before a missing exchange": (
        lambda c, n: c.basic_publish(n.new, "k", b"x"),
        "write access to exchange '{new}' in vhost '" + VHOST + f"' refused for user '{USER}'",
    ),
    "rights before a missing queue": (
        lambda c, n: c.basic_get(n.new),
        "read access to queue '{new}' in vhost '" + VHOST + f"' refused for user '{USER}'",
    ),
    "rights before differences": (
        lambda c, n: c.queue_declare(n.queue, durable=True),
        "configure access to queue '{queue}' in vhost '" + VHOST + f"' refused for user '{USER}'",
    ),
}


@pytest.mark.parametrize("name", ORDER)
def test_of_several_faults_the_first_is_told(place, name):
    names = place.made()
    do, text = ORDER[name]
    place.permit(*NOTHING)
    expected = text.format(new=names.new, queue=names.queue)
    assert place.outcome(do, names) == (403, place.says(f"ACCESS_REFUSED - {expected}"))


# RabbitMQ 3.10 closes the connection, which the other cases need.
@pytest.mark.own_broker
def test_an_unknown_type_is_told_before_rights(place):
    names = place.made()
    place.permit(*NOTHING)
    code, text = place.outcome(lambda c, n: c.exchange_declare(n.new, "square"), names)
    assert (code, text) == (406, "PRECONDITION_FAILED - unknown exchange type 'square'")


def test_a_binding_from_the_default_exchange_needs_the_target_first(place):
    names = place.made()
    place.permit("", f"^{re.escape(names.queue)}$", "")
    bind = place.outcome(lambda c, n: c.queue_bind(n.queue, "", "k"), names)
    assert bind == (403, "ACCESS_REFUSED - operation not permitted on the default exchange")
    place.permit(*NOTHING)
    bind = place.outcome(lambda c, n: c.queue_bind(n.queue, "", "k"), names)
    check_refused(place, bind, ("write", "queue", names.queue))
