"""Keys that are fetched, from servers that answer, fail, hang or change them."""

import threading
import time

import pika
import pika.exceptions
import pytest
from cryptography import x509

from support.authorization_server import KeyServer, claims, key, token
from support.deadline import eventually
from tls.authority import Authority

from .conftest import log_in

pytestmark = pytest.mark.own_broker


def settings(**changes):
    made = {
        "resource_server_id": "rabbitmq",
        "leeway": "0",
        "timeout": "1s",
        "refresh": "1h",
        "refresh_min": "200ms",
    } | changes
    return {
        "auth.backends": "oauth2,internal",
        "auth.failed_login_delay": "0",
    } | {f"auth.oauth2.{name}": value for name, value in made.items()}


def gets_in(broker, made):
    try:
        log_in(broker, made).close()
    except pika.exceptions.ProbableAuthenticationError:
        return False
    return True


def test_an_issuer_is_discovered(leveret):
    with KeyServer(key(), key("p256", "ES256"), key("p521", "ES512")) as keys:
        broker = leveret(settings(issuer=keys.issuer))
        assert gets_in(broker, token(iss=keys.issuer))
        assert gets_in(broker, key("p256", "ES256").sign(claims(iss=keys.issuer)))
        assert gets_in(broker, key("p521", "ES512").sign(claims(iss=keys.issuer)))
        assert not gets_in(broker, token(iss="http://elsewhere"))
        eventually(lambda: broker.has_logged("issued by 'http://elsewhere'"), "the log says why")
        assert not gets_in(broker, token())
        assert keys.requests == ["/realms/nost/.well-known/openid-configuration", "/realms/nost/certs"]


def test_another_issuer_is_not_believed(leveret):
    with KeyServer(key()) as keys:
        keys.issuer_name = "https://another"
        broker = leveret(settings(issuer=keys.issuer))
        assert not gets_in(broker, token(iss=keys.issuer))
        eventually(lambda: broker.has_logged("the issuer calls itself https://another"), "the log says why")


def test_a_new_key_is_fetched_once(leveret):
    with KeyServer(key()) as keys:
        broker = leveret(settings(jwks_url=keys.url))
        assert gets_in(broker, token()) and len(keys.requests) == 1
        keys.keys.append(key("rotated", "ES256"))
        fresh = key("rotated", "ES256").sign(claims())
        eventually(lambda: gets_in(broker, fresh), "the new key is known")
        assert len(keys.requests) == 2
        assert gets_in(broker, token()) and gets_in(broker, fresh) and len(keys.requests) == 2


def test_unknown_keys_do_not_make_it_fetch_at_will(leveret):
    with KeyServer(key()) as keys:
        broker = leveret(settings(jwks_url=keys.url, refresh_min="1h", refresh="2h"))
        assert gets_in(broker, token())
        for number in range(20):
            assert not gets_in(broker, key().sign(claims(), kid=f"guess-{number}"))
        assert len(keys.requests) == 1


def test_a_server_that_fails_leaves_the_keys(leveret):
    with KeyServer(key()) as keys:
        broker = leveret(settings(jwks_url=keys.url, refresh="1s", refresh_min="100ms"))
        assert gets_in(broker, token())
        for behaviour in ("fail", "garbage"):
            keys.behave(behaviour)
            before = len(keys.requests)
            eventually(lambda count=before: len(keys.requests) > count + 1, "it asked again")
            assert gets_in(broker, token())
        for reason in ("cannot be fetched.*500", "not a JSON Web Key Set"):
            eventually(lambda why=reason: broker.has_logged(why), f"the log says: {reason}")
        keys.keys = [key("p256", "ES256")]
        keys.behave("answer")
        eventually(lambda: not gets_in(broker, token()), "a key that was withdrawn is gone")


def test_a_server_that_is_away_at_the_start_comes(leveret):
    with KeyServer(key()) as keys:
        keys.behave("fail")
        broker = leveret(settings(jwks_url=keys.url))
        eventually(lambda: broker.has_logged("cannot be fetched"), "it tried")
        assert not gets_in(broker, token())
        keys.behave("answer")
        eventually(lambda: gets_in(broker, token()), "the keys are there")


def test_a_server_that_hangs_holds_nobody_up(leveret):
    with KeyServer(key()) as keys:
        broker = leveret(settings(jwks_url=keys.url, timeout="3s"))
        assert gets_in(broker, token())
        keys.behave("hang")
        unknown = key("p384", "ES384").sign(claims())
        answers = []
        begin = time.monotonic()

        def try_until_it_asks():
            # Until the pause after the first fetch is over it does not.
            while len(keys.requests) == 1:
                answer = gets_in(broker, unknown)
            answers.append(answer)

        waiting = [threading.Thread(target=try_until_it_asks)]
        waiting[0].start()
        eventually(lambda: len(keys.requests) == 2, "it asks")
        waiting += [threading.Thread(target=lambda: answers.append(gets_in(broker, unknown))) for _ in range(7)]
        for thread in waiting[1:]:
            thread.start()
        with pika.BlockingConnection(broker.parameters()) as connection:
            connection.channel().queue_declare("", exclusive=True)
        assert gets_in(broker, token())
        assert not answers, "the unknown ones still wait"
        for thread in waiting:
            thread.join(10)
        assert time.monotonic() - begin < 8
        assert answers == [False] * 8


@pytest.mark.parametrize("place", ["jwks_url", "issuer"])
def test_keys_come_within_tls_from_an_authority_of_ones_own(leveret, tmp_path, place):
    authority = Authority(tmp_path)
    with KeyServer(key(), certificate=authority.server()) as keys:
        where = {"jwks_url": keys.url, "issuer": keys.issuer}[place]
        broker = leveret(settings(**{place: where, "https_ca_file": authority.path}))
        assert gets_in(broker, token(iss=keys.issuer))
        assert len(keys.requests) == (1 if place == "jwks_url" else 2)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("no authority", "UnknownIssuer"),
        ("another authority", "UnknownIssuer|BadSignature"),
        ("another host", "NotValidForName|not valid for (any )?name"),
        ("expired", "[Ee]xpired"),
        ("a client's certificate", "InvalidPurpose|purpose|[Uu]sage"),
    ],
)
def test_a_key_server_within_tls_has_to_prove_itself(leveret, tmp_path, case, reason):
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "Another authority")
    host = "elsewhere.example" if case == "another host" else "localhost"
    certificate = authority.server(host=host, expired=case == "expired")
    if case == "a client's certificate":
        certificate = authority.client(alternative=[x509.DNSName("localhost")])
    believed = {"no authority": {}, "another authority": {"https_ca_file": other.path}}
    with KeyServer(key(), certificate=certificate) as keys:
        trust = believed.get(case, {"https_ca_file": authority.path})
        broker = leveret(settings(jwks_url=keys.url) | {f"auth.oauth2.{name}": value for name, value in trust.items()})
        eventually(lambda: broker.has_logged(f"cannot be fetched.*({reason})"), broker.log_text)
        assert not gets_in(broker, token())
        assert not keys.requests, "it was told nothing"


def test_within_tls_an_issuer_cannot_lead_out_of_it(leveret, tmp_path):
    authority = Authority(tmp_path)
    with KeyServer(key(), certificate=authority.server()) as keys:
        keys.url = keys.url.replace("https://", "http://")
        broker = leveret(settings(issuer=keys.issuer, https_ca_file=authority.path))
        eventually(lambda: broker.has_logged("its jwks_uri is not https"), broker.log_text)
        assert not gets_in(broker, token(iss=keys.issuer))


def test_the_process_ends_while_a_server_hangs(leveret):
    with KeyServer(key()) as keys:
        keys.behave("hang")
        broker = leveret(settings(jwks_url=keys.url, timeout="20s"))
        eventually(lambda: keys.requests, "it asks")
        begin = time.monotonic()
        assert broker.stop() == 0
        assert time.monotonic() - begin < 5
