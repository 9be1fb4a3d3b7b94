"""What holds for every path: methods, credentials, encodings, bodies and headers."""

import gzip
import http.client
import json
import socket

import pytest

from management.test_topology import missing, refusal
from support.management import api_of

METHODS = {
    "/api/whoami": {"GET"},
    "/api/overview": {"GET"},
    "/api/queues": {"GET"},
    "/api/queues/%2F/none": {"GET", "PUT", "DELETE"},
    "/api/exchanges/%2F/none": {"GET", "PUT", "DELETE"},
    "/api/bindings/%2F/e/x/q/y": {"GET", "POST"},
    "/api/bindings/%2F/e/x/q/y/k": {"GET", "DELETE"},
    "/api/queues/%2F/none/contents": {"DELETE"},
    "/api/queues/%2F/none/get": {"POST"},
    "/api/exchanges/%2F/none/publish": {"POST"},
    "/api/definitions": {"GET", "POST"},
    "/api/connections/none": {"GET", "DELETE"},
    "/api/users/none": {"GET", "PUT", "DELETE"},
    "/api/vhosts/none": {"GET", "PUT", "DELETE"},
    "/api/permissions/%2F/none": {"GET", "PUT", "DELETE"},
    "/api/cluster-name": {"GET", "PUT"},
    "/api/users/bulk-delete": {"POST"},
}


@pytest.mark.parametrize("path", METHODS)
def test_methods(server, api, path):
    allowed = METHODS[path]
    wrong = sorted({"GET", "PUT", "POST", "DELETE", "PATCH"} - allowed)
    for method in wrong:
        # Whether it exists is no secret, so it is told to strangers too.
        for visitor in (api, api.by(None)):
            answer = visitor.send(method, path, b"")
            if server.is_rabbitmq and path == "/api/users/bulk-delete" and method == "GET":
                continue
            assert answer.status == 405, (method, answer)
            assert allowed <= {word.strip() for word in answer.headers["allow"].split(",")}


@pytest.mark.parametrize("path", ["/api/whoami", "/api/queues/%2F/none"])
def test_options_need_no_credentials(api, path):
    answer = api.by(None).send("OPTIONS", path)
    assert (answer.status, answer.body) == (200, b"")
    assert METHODS[path] <= {word.strip() for word in answer.headers["allow"].split(",")}


def test_methods_nobody_knows(api):
    assert api.send("FOO", "/api/whoami").status in (405, 501)


@pytest.mark.parametrize("path", ["/api/whoami", "/api/overview", "/api/queues", "/api/queues/%2F/none"])
def test_head_is_get_without_a_body(api, path):
    asked, headed = api.send("GET", path), api.send("HEAD", path)
    assert (headed.status, headed.body) == (asked.status, b"")
    assert headed.headers["content-type"] == asked.headers["content-type"]
    # The connection goes on.
    assert api.read("whoami")["name"] == api.user


def test_paths_that_are_not_there(api):
    for path in ("/api/nothing", "/api/vhosts/none/a/b/c", "/api//whoami", "/nothing"):
        answer = api.send("GET", path)
        assert answer.status == 404, (path, answer)
    missing(api.by(None).send("GET", "/api/nothing"))


def test_escapes_in_paths(api):
    api.done("PUT", "queues", "/", "http+plus", body={})
    assert api.send("GET", "/api/queues/%2f/http+plus?columns=name").json == {"name": "http+plus"}
    assert api.send("GET", "/api/queues/%2F/http%2Bplus?columns=name").json == {"name": "http+plus"}
    assert api.send("GET", "/api/queues/%2F/http%20plus").status == 404
    assert api.send("GET", "/api/queues/%252F/http+plus").status == 404
    api.done("DELETE", "queues", "/", "http+plus")
    for path in ("/api/queues/%zz/q", "/api/queues/%ff/q", "/api/queues/%2F/%", "/api/queues/%2F/%c3"):
        assert api.send("GET", path).status in (400, 404), path


BAD_CREDENTIALS = ["Basic !!!", "Basic Z3Vlc3Q=", "Basic", "Digest x", "Bearer x", "", "Basic " + "A" * 20_000]


@pytest.mark.parametrize("header", BAD_CREDENTIALS)
def test_credentials_that_are_none(api, header):
    answer = api.by(None).send("GET", "/api/whoami", headers={"Authorization": header})
    assert answer.status in (400, 401, 431), answer


def test_strangers_are_asked_who_they_are(api):
    answer = api.by(None).get("whoami")
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="RabbitMQ Management"'
    answer = api.by(api.user, "wrong").get("whoami")
    assert (answer.status, answer.json["error"]) == (401, "not_authorized")
    assert answer.headers["www-authenticate"] == 'Basic realm="RabbitMQ Management"'
    assert api.by("nobody", "at all").get("whoami").json["error"] == "not_authorized"


def test_who_is_known_and_may_not_is_told_otherwise(user):
    answer = user("").get("whoami")
    refusal(answer, 401, "not_authorised", "Not management user")
    refusal(user("management").get("users"), 401, "not_authorised", "Not administrator user")
    refusal(user("management").get("nodes"), 401, "not_authorised")


@pytest.mark.parametrize("path", ["overview", "exchanges", "nodes"])
def test_json_is_compressed_if_asked(api, path):
    plain = api.get(path)
    assert plain.headers["content-encoding"] is None
    packed = api.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    # Lists are written while they are sent.
    found = json.loads(gzip.decompress(packed.body))
    assert (type(found), len(found)) == (type(plain.json), len(plain.json))
    assert "accept-encoding" in packed.headers["vary"]


def test_headers(api):
    answer = api.get("whoami")
    assert answer.headers["content-type"].startswith("application/json")
    assert "no-cache" in answer.headers["cache-control"]
    assert answer.headers["content-security-policy"]
    assert answer.headers["access-control-allow-origin"] is None


def test_pages_of_others_get_no_permission(api):
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    answer = api.send("OPTIONS", "/api/queues/%2F/none", headers=asked)
    assert not [name for name in answer.headers if name.lower().startswith("access-control-allow-origin")]


@pytest.mark.own_broker
def test_pages_that_are_named_get_it(leveret):
    broker = leveret({"http.cors.allow_origins": '["https://console.example"]', "http.cors.max_age": "7s"})
    with api_of(broker) as api:
        for origin, allowed in (("https://console.example", "https://console.example"), ("https://console.example.evil", None)):
            asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
            answer = api.send("OPTIONS", "/api/whoami", headers=asked)
            assert answer.status == 200
            assert answer.headers["access-control-allow-origin"] == allowed
            if allowed:
                assert answer.headers["access-control-max-age"] == "7"
                assert "authorization" in answer.headers["access-control-allow-headers"].lower()
            assert api.get("whoami", headers={"Origin": origin}).headers["access-control-allow-origin"] == allowed


@pytest.mark.own_broker
def test_a_prefix_of_all_paths(leveret):
    broker = leveret({"http.path_prefix": "/leveret"})
    with api_of(broker) as api:
        assert api.send("GET", "/leveret/api/whoami").json["name"] == "guest"
        assert api.send("GET", "/api/whoami").status == 404


def test_the_type_of_a_body_does_not_matter(api):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"):
        answer = api.send("PUT", "/api/queues/%2F/http.kind", b'{"durable":true}', {"Content-Type": kind})
        assert answer.status in (201, 204), (kind, answer)
    api.done("DELETE", "queues", "/", "http.kind")


@pytest.mark.own_broker
def test_bodies_that_are_too_large_are_refused(api):
    # RabbitMQ 3.10 answers 500, later ones as here.
    body = b'{"arguments":{"a":"' + b"x" * (21 << 20) + b'"}}'
    try:
        answer = api.send("PUT", "/api/queues/%2F/http.large", body)
    except (ConnectionError, http.client.HTTPException):
        # It need not read it to the end.
        api.close()
    else:
        refusal(answer, 400, "bad_request", "Exceeded HTTP request body size limit")
    api.close()
    missing(api.get("queues", "/", "http.large"))


@pytest.mark.own_broker
def test_a_body_that_does_not_come_is_not_waited_for_by_others(api):
    with socket.create_connection((api.host, api.port)) as slow:
        login = api.credentials()["Authorization"]
        head = f"PUT /api/queues/%2F/slow HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\nContent-Length: 100\r\n\r\n{{"
        slow.sendall(head.encode())
        for _ in range(20):
            assert api.read("whoami")["name"] == api.user


def test_many_requests_on_one_connection(api):
    with socket.create_connection((api.host, api.port)) as stream:
        login = api.credentials()["Authorization"]
        request = f"GET /api/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n\r\n".encode()
        last = request.replace(b"Host: x", b"Host: x\r\nConnection: close")
        # All at once, without waiting for answers.
        stream.sendall(request * 20 + last)
        received = b"".join(iter(lambda: stream.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200") == 21
