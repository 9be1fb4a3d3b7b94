"""Which access tokens let somebody in, and what they allow."""

import time

import jwt
import pika
import pika.exceptions
import pytest

from support import authorization_server as server
from support.authorization_server import by_hand, claims, key, token
from support.broker import Leveret
from support.deadline import eventually

from .conftest import SECRET, log_in

pytestmark = pytest.mark.own_broker


@pytest.fixture(scope="module")
def broker(with_files):
    with Leveret(with_files) as leveret:
        # This may be a process whose tests make none.
        made = token()
        SEEN.append(made)
        pika.BlockingConnection(
            pika.ConnectionParameters(leveret.host, leveret.port, credentials=pika.PlainCredentials("", made))
        ).close()
        yield leveret
        # Signatures are what makes tokens worth stealing.
        signatures = [made.rsplit(".", 1)[-1][:16] for made in SEEN]
        assert signatures and not any(known in leveret.log_text() for known in signatures if known)


SEEN = []


def may(connection, operation):
    """Whether an operation on a channel of its own is not refused."""
    channel = connection.channel()
    try:
        operation(channel)
        channel.close()
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 403, error
        return False
    return True


def declares(connection, queue="q"):
    return may(connection, lambda channel: channel.queue_declare(queue, auto_delete=True))


def refused(login, broker, text, reason, **options):
    """The login is refused, and the log says why."""
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        login(broker, text, **options)
    eventually(lambda: broker.has_logged(f"login refused: .*{reason}"), f"the log says: {reason}")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA", "HS256"])
def test_every_kind_of_key(broker, login, algorithm):
    kids = {"RS256": "first", "ES256": "p256", "ES384": "p384", "ES512": "p521", "EdDSA": "ed"}
    if algorithm == "HS256":
        made = jwt.encode(claims(), SECRET, algorithm, headers={"kid": "shared"})
    else:
        made = key(kids[algorithm], algorithm).sign(claims())
    SEEN.append(made)
    assert declares(login(broker, made))


def test_the_clients_user_name_makes_no_difference(broker, login):
    for user in ("", "guest", "anybody"):
        connection = login(broker, token(user_name="carol"), user=user)
        assert declares(connection)
    eventually(lambda: broker.has_logged("carol"), "the log has the name of the token")


def test_local_users_are_asked_too(broker):
    with pika.BlockingConnection(broker.parameters()) as connection:
        connection.channel().queue_declare("", exclusive=True)


def test_bad_tokens_are_refused_each_with_its_reason(broker, login):
    good = key()
    now = int(time.time())
    header = {"alg": "RS256", "kid": "first"}
    cases = [
        (token(lives=-1), "expired"),
        (token(exp=None), "claim 'exp'"),
        (token(exp="tomorrow"), "claim 'exp'"),
        (token(nbf=now + 600), "not good before"),
        (token(aud="somebody-else"), "another audience"),
        (token(aud=None), "another audience"),
        (token(aud=["a", "b"]), "another audience"),
        (token(sub=None), "no user name"),
        (server.Key(key("other").private, "RS256", "first").sign(claims()), "signature is wrong"),
        (good.sign(claims(), kid="nobody"), "key 'nobody' is unknown"),
        (good.sign(claims(), kid=None), "names no key"),
        (by_hand({"alg": "none"}, claims()), "algorithm 'none' is not allowed"),
        (by_hand({"alg": "none", "kid": "first"}, claims()), "algorithm 'none' is not allowed"),
        (by_hand({"alg": "HS256", "kid": "first"}, claims(), good.public_pem()), "does not go with its key"),
        (by_hand({"alg": "HS256", "kid": "shared"}, claims(), b"guessed" * 6), "signature is wrong"),
        (by_hand(header, claims()), "signature is wrong"),
        (by_hand(header | {"crit": ["b64"]}, claims()), "critical"),
        (token()[:-4] + "AAAA", "signature is wrong"),
    ]
    for made, reason in cases:
        SEEN.append(made)
        refused(login, broker, made, reason)
    assert declares(login(broker, token())), "after all of them"


@pytest.mark.parametrize(
    "places",
    [
        {"scope": "openid rabbitmq.configure:*/*"},
        {"scope": ["openid", "rabbitmq.configure:*/*"]},
        {"scope": {"rabbitmq": ["configure:*/*"]}},
        {"scope": None, "extra_scope": "rabbitmq.configure:*/*"},
        {"scope": "openid", "extra_scope": ["offline_access", "rabbitmq.configure:*/*"]},
        {"scope": "openid", "extra_scope": {"rabbitmq": ["configure:*/*"], "other": ["read:*/*"]}},
        {"scope": "openid", "extra_scope": {"rabbitmq": "configure:*/*"}},
        {"scope": "openid", "realm_access": {"roles": ["uma", "rabbitmq.configure:*/*"]}},
        {"scope": "openid", "resource_access": {"nost": {"roles": ["rabbitmq.configure:*/*"]}}},
        {"scope": "openid", "authorization": {"permissions": [{"rsid": "x", "scopes": ["rabbitmq.configure:*/*"]}]}},
        {"scope": "nost-admin"},
    ],
    ids=str,
)
def test_scopes_are_found_wherever_they_are(broker, login, places):
    connection = login(broker, token(**places))
    assert declares(connection)
    assert not may(connection, lambda channel: channel.basic_get("q")), "there is no scope to read"


def test_a_vhost_needs_a_scope_that_is_no_tag(broker, login):
    for scope in ("rabbitmq.tag:administrator", "openid", "rabbitmq.read:staging/*", None):
        with pytest.raises(pika.exceptions.ProbableAccessDeniedError) as error:
            login(broker, token(scope))
        assert "(530) \"NOT_ALLOWED - access to vhost '/' refused for user 'ada'" in str(error.value)
    for scope in ("rabbitmq.configure:stag*/*", "rabbitmq.configure:{vhost}/*"):
        assert declares(login(broker, token(scope), vhost="staging"))
    assert declares(login(broker, token("rabbitmq.configure:%2F/*")))


def test_rights_names_and_topics(broker, login):
    scope = (
        "rabbitmq.configure:*/* rabbitmq.write:*/sos*/sos* rabbitmq.read:*/sos*/sos.one.* "
        "rabbitmq.write:*/plain rabbitmq.read:*/{user_name}.*"
    )
    connection = login(broker, token(scope, user_name="carol"))
    channel = connection.channel()
    for exchange in ("sos", "plain"):
        channel.exchange_declare(exchange, "topic", auto_delete=True)
    for queue in ("sos.queue", "plain.queue", "carol.queue"):
        channel.queue_declare(queue, exclusive=True)
    publish = lambda exchange, routing_key: lambda on: (  # noqa: E731
        on.confirm_delivery(),
        on.basic_publish(exchange, routing_key, b""),
    )
    bind = lambda queue, exchange, routing_key: lambda on: on.queue_bind(queue, exchange, routing_key)  # noqa: E731
    assert may(connection, bind("sos.queue", "sos", "sos.one.#"))
    assert not may(connection, bind("sos.queue", "sos", "sos.two.#")), "the key may not be read"
    assert not may(connection, bind("plain.queue", "sos", "sos.one.#")), "the queue may not be written"
    assert may(connection, publish("sos", "sos.any"))
    assert not may(connection, publish("sos", "nost.any"))
    assert not may(connection, publish("plain", "any")), "a topic needs a third part"
    assert not may(connection, publish("", "sos.queue")), "the default exchange is amq.default"
    assert may(connection, lambda on: on.basic_get("carol.queue"))
    assert not may(connection, lambda on: on.basic_get("plain.queue"))
    assert not may(connection, bind("sos.queue", "plain", "any"))


def test_one_broker_may_be_several_resource_servers(leveret, with_files):
    own = leveret(with_files | {"auth.oauth2.further_resource_servers": "nost,other"})
    for name in ("rabbitmq", "nost", "other"):
        with log_in(own, token(f"{name}.configure:*/*", aud=["account", name])) as connection:
            assert declares(connection)
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
        log_in(own, token("rabbitmq.configure:*/*", aud="nost"))
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        log_in(own, token("rabbitmq.configure:*/* nost.configure:*/*", aud=["rabbitmq", "nost"]))
    eventually(lambda: own.has_logged("audience has several of our resource servers"), "the log says why")


def test_long_tokens_come_in_before_login(broker, login):
    made = token(filler="x" * 4500)
    assert 5900 < len(made) < 8192
    assert declares(login(broker, made))
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        login(broker, token(filler="x" * 8000))


def test_what_looks_like_a_token_may_be_a_password(leveret, with_files):
    odd = "eyJhbGciOiJub25lIn0.e30.x"
    own = leveret(with_files | {"auth.users.odd.password": odd})
    with pika.BlockingConnection(own.parameters(user="odd", password=odd)) as connection:
        connection.channel()
