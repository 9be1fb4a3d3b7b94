"""Sessions: /login gives a token for a password, and the token is taken instead of one."""

import http.cookies
import urllib.parse

import pytest

from management.test_topology import refusal
from support.broker import Leveret
from support.deadline import eventually
from support.management import api_of


@pytest.fixture(autouse=True)
def own(server):
    """Leveret's own: RabbitMQ keeps no sessions."""
    if server.is_rabbitmq:
        pytest.skip("RabbitMQ puts the password into the cookie")


def log_in(api, headers=None, **fields):
    """The answer to a form."""
    form = urllib.parse.urlencode(fields).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return api.by(None).send("POST", "/api/login", form, {**kind, **(headers or {})})


def token_of(api):
    """A token for whom an API is."""
    answer = log_in(api, username=api.user, password=api.password)
    assert answer.status == 200, answer
    return answer.json["token"]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def cookie(api, token):
    return {"Cookie": f"theme=dark; leveret_session_{api.port}={token}"}


def test_a_token_takes_the_place_of_the_password(api, user, vhost):
    one = user("management", vhost)
    answer = log_in(api, username=one.user, password=one.password)
    told = answer.json
    assert answer.status == 200 and sorted(told) == ["expires_in", "token", "token_type"]
    assert told["token_type"] == "Bearer" and told["expires_in"] == 8 * 3600
    nobody, headers = api.by(None), bearer(told["token"])
    who = nobody.get("whoami", headers=headers).json
    assert (who["name"], who["tags"], who["login_session_timeout"]) == (one.user, ["management"], 480)
    assert nobody.put("queues", vhost, "by-token", body={}, headers=headers).status == 201
    refusal(nobody.get("nodes", headers=headers), 401, "not_authorised")
    # What tags say now counts.
    api.done("PUT", "users", one.user, "tags", body={"tags": ["monitoring"]})
    assert nobody.get("nodes", headers=headers).status == 200


def test_the_cookie_is_for_browsers_alone(api):
    answer = log_in(api, username=api.user, password=api.password)
    morsel = http.cookies.SimpleCookie(answer.headers["set-cookie"])[f"leveret_session_{api.port}"]
    assert morsel.value == answer.json["token"]
    assert morsel["httponly"] and morsel["samesite"] == "Strict" and not morsel["secure"]
    assert morsel["path"] == "/" and morsel["max-age"] == str(8 * 3600)


def test_the_cookie_is_secure_where_the_browser_speaks_tls_with_a_proxy(api):
    for scheme in ("https", "http"):
        headers = {"Host": "mq.example", "Origin": f"{scheme}://mq.example", "Sec-Fetch-Site": "same-origin"}
        answer = log_in(api, headers, username=api.user, password=api.password)
        begun = http.cookies.SimpleCookie(answer.headers["set-cookie"])["leveret_session"]
        answer = api.by(None).send("DELETE", "/api/login", headers={**headers, **bearer(begun.value)})
        ended = http.cookies.SimpleCookie(answer.headers["set-cookie"])["leveret_session"]
        assert [bool(cookie["secure"]) for cookie in (begun, ended)] == [scheme == "https"] * 2


def test_a_cookie_changes_nothing_for_another_sites_page(api, vhost):
    nobody, shown = api.by(None), cookie(api, token_of(api))
    assert nobody.get("whoami", headers=shown).json["name"] == api.user

    def put(headers):
        return nobody.put("queues", vhost, "by-cookie", body={}, headers={**shown, **headers})

    own = f"http://{api.host}:{api.port}"
    refusal(put({}), 401, "not_authorised")
    refusal(put({"Origin": "http://evil.example"}), 401, "not_authorised")
    refusal(put({"Sec-Fetch-Site": "cross-site"}), 401, "not_authorised")
    assert api.get("queues", vhost, "by-cookie").status == 404
    assert put({"Origin": own, "Sec-Fetch-Site": "same-origin"}).status == 201
    assert put({"X-Requested-With": "XMLHttpRequest"}).status == 204
    # Nor does such a page log anybody in.
    refused = log_in(api, {"Origin": "http://evil.example"}, username=api.user, password=api.password)
    refusal(refused, 401, "not_authorised")


def test_who_is_let_in(api, user):
    stranger = user("")
    refusal(log_in(api, username=stranger.user, password=stranger.password), 401, "not_authorised")
    for fields in ({"username": api.user, "password": "wrong"}, {"username": api.user}, {}, {"username": "x", "password": ""}):
        answer = log_in(api, **fields)
        refusal(answer, 401, "not_authorized")
        assert "set-cookie" not in answer.headers
    nobody = api.by(None)
    told = nobody.post("login", body={"username": api.user, "password": api.password})
    refusal(told, 400, "bad_request")
    of_another = {"Cookie": f"leveret_session_1={token_of(api)}"}
    no_token = {"Cookie": f"leveret_session_{api.port}=x"}
    for headers in (bearer("lvrt.nothing"), cookie(api, "lvrt.nothing"), no_token, of_another):
        refusal(nobody.get("whoami", headers=headers), 401, "not_authorized")
    assert nobody.get("login").status == 405


@pytest.mark.own_broker
def test_guest_does_not_come_through_a_proxy_on_this_machine():
    with Leveret() as leveret, api_of(leveret) as api:
        token = token_of(api)
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
            proxied = {header: "127.0.0.1"}
            for answer in (
                api.send("GET", "/api/whoami", headers=proxied),
                api.by(None).send("GET", "/api/whoami", headers=proxied | bearer(token)),
                log_in(api, proxied, username="guest", password="guest"),
            ):
                assert (answer.status, answer.error[1]) == (401, "User can only log in via localhost"), header
        api.done("PUT", "users", "alice", body={"password": "secret", "tags": "administrator"})
        assert api.by("alice", "secret").send("GET", "/api/whoami", headers=proxied).status == 200
        assert api.get("whoami").status == 200


def test_logins_are_counted(api):
    def attempts():
        node = api.read("overview")["node"]
        told = {row["protocol"]: row for row in api.read("auth", "attempts", node)}
        return told["http"]["auth_attempts_failed"]

    before = attempts()
    log_in(api, username=api.user, password="wrong")
    assert attempts() >= before + 1


def test_it_ends_when_it_is_given_up(api):
    token, other = token_of(api), token_of(api)
    nobody = api.by(None)
    answer = nobody.delete("login", headers=bearer(token))
    assert answer.status == 204 and "Max-Age=0" in answer.headers["set-cookie"]
    refusal(nobody.get("whoami", headers=bearer(token)), 401, "not_authorized")
    assert nobody.get("whoami", headers=bearer(other)).status == 200
    refusal(nobody.delete("login", headers=cookie(api, other)), 401, "not_authorised")
    assert nobody.delete("login", headers={**cookie(api, other), "X-Requested-With": "x"}).status == 204
    refusal(nobody.get("whoami", headers=cookie(api, other)), 401, "not_authorized")


@pytest.mark.parametrize("how", ["password", "user"])
def test_it_ends_with_the_password_and_the_user(api, user, how):
    one = user("management")
    nobody, headers = api.by(None), bearer(token_of(one))
    assert nobody.get("whoami", headers=headers).status == 200
    if how == "password":
        api.done("PUT", "users", one.user, "password", body={"password": "another"})
    else:
        api.done("DELETE", "users", one.user)
        api.done("PUT", "users", one.user, body={"password": one.password, "tags": "management"})
    refusal(nobody.get("whoami", headers=headers), 401, "not_authorized")


def test_it_ends_in_time(tmp_path):
    settings = {"storage.sync": "never", "auth.password_hash": "rabbit_sha256", "http.session_timeout": "1s"}
    with Leveret(settings, data_dir=tmp_path / "data") as broker, api_of(broker) as api:
        nobody, headers = api.by(None), bearer(token_of(api))
        eventually(lambda: nobody.get("whoami", headers=headers).status == 401, "the session is over")
