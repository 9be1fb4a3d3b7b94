"""The management HTTP API as a client sees it: raw calls, so that paths, headers and bodies are what a test says."""

import base64
import http.client
import json
import os
import urllib.parse

SECONDS = 30

# For a body that is JSON's null; None is no body.
NULL = object()


def running_api():
    """The API that LEVERET_TEST_MANAGEMENT names (http://guest:guest@host:15672), or None."""
    url = os.environ.get("LEVERET_TEST_MANAGEMENT")
    if not url:
        return None
    parts = urllib.parse.urlparse(url)
    return Api(parts.hostname, parts.port or 15672, parts.username or "guest", parts.password or "guest")


def api_of(broker):
    """The API of a Leveret of our own."""
    host, _, port = broker.address("http").rpartition(":")
    return Api(host, int(port))


def quoted(segments):
    """A path below /api from its segments, each percent-encoded as a whole."""
    return "/".join(urllib.parse.quote(str(segment), safe="") for segment in segments)


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        """The body as text."""
        return self.body.decode()

    @property
    def json(self):
        """The body as JSON gives it."""
        assert self.headers.get("content-type", "").startswith("application/json"), (self.status, self.headers, self.body)
        return json.loads(self.body)

    @property
    def error(self):
        """What a refusal says: its `error` and its `reason`."""
        return self.json["error"], self.json["reason"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Api:
    """An API with somebody's credentials, over one connection. It is closed with `close`, or as a context manager."""

    def __init__(self, host, port, user="guest", password="guest"):
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self._connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        """Where it is, without credentials."""
        return f"http://{self.host}:{self.port}"

    def close(self):
        """Closes its connection; the next call opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def by(self, user, password=None):
        """The same API for somebody else; nobody, if `user` is None."""
        return Api(self.host, self.port, user, password if password is not None else user)

    def credentials(self):
        """The headers that say who asks."""
        if self.user is None:
            return {}
        login = f"{self.user}:{self.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(login).decode()}"}

    def send(self, method, target, body=None, headers=None):
        """A request with exactly this target and body (bytes)."""
        # Whoever leaves its connection idle may find it closed by the server, which is no fault.
        for again in (True, False):
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
                again = False
            try:
                self._connection.request(method, target, body, {**self.credentials(), **(headers or {})})
                return Answer(self._connection.getresponse())
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.close()
                if not again:
                    raise

    def call(self, method, *segments, body=None, query=None, headers=None):
        """A request for a path below /api, with a body that is made JSON of. `query` is a dict or a list of pairs."""
        target = f"/api/{quoted(segments)}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(None if body is NULL else body).encode()
        kind = {} if data is None else {"Content-Type": "application/json"}
        return self.send(method, target, data, {**kind, **(headers or {})})

    def get(self, *segments, **options):
        """GET."""
        return self.call("GET", *segments, **options)

    def put(self, *segments, body, **options):
        """PUT."""
        return self.call("PUT", *segments, body=body, **options)

    def post(self, *segments, body, **options):
        """POST."""
        return self.call("POST", *segments, body=body, **options)

    def delete(self, *segments, **options):
        """DELETE."""
        return self.call("DELETE", *segments, **options)

    def read(self, *segments, **query):
        """What a GET that has to succeed answers, as JSON."""
        answer = self.get(*segments, query=query)
        assert answer.status == 200, (segments, answer)
        return answer.json

    def done(self, method, *segments, **options):
        """A call that has to succeed, with 201 or 204."""
        answer = self.call(method, *segments, **options)
        assert answer.status in (200, 201, 204), (method, segments, answer)
        return answer
