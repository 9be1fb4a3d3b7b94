"""A provider at which people log in: an authorization server that gives codes to browsers, and tokens for codes."""

import base64
import hashlib
import threading
import urllib.parse

from support.authorization_server import KeyServer, claims, key

CLIENT, SECRET = "the page", "s&cret: 100%"


class LoginProvider(KeyServer):
    """As KeyServer. A test takes the part of the people: `approve` and `deny` say where their browser is sent.

    `claims` are what tokens claim, `ways` how clients may prove themselves, `changes` what is told otherwise, and `at_token` is what happens where tokens are
    had: "answer", "fail" (500), "garbage", "no token", "another kind" (of token) or "hang".
    """

    def __init__(self, secret=SECRET, ways=None, certificate=None):
        self.secret = secret
        self.ways = ways
        self.claims = {"scope": "rabbitmq.tag:administrator"}
        self.at_token = "answer"
        self.moved_on = threading.Condition()
        self.codes = {}
        self.forms = []
        self.changes = {}
        super().__init__(key(), certificate=certificate)

    def __exit__(self, *arguments):
        self.go_on()
        super().__exit__(*arguments)

    def go_on(self):
        """From now on tokens are given."""
        with self.moved_on:
            self.at_token = "answer"
            self.moved_on.notify_all()

    def metadata(self):
        """Also where people log in."""
        told = super().metadata() | {
            "authorization_endpoint": f"{self.issuer}/auth?realm=nost",
            "token_endpoint": f"{self.issuer}/token",
        }
        ways = {} if self.ways is None else {"token_endpoint_auth_methods_supported": self.ways}
        return told | ways | self.changes

    def approve(self, url):
        """Somebody logs in at a URL: where they are sent then."""
        asked = self.asked(url)
        code = f"code {len(self.codes)}"
        self.codes[code] = asked
        return self.back(asked, code=code)

    def deny(self, url, error="access_denied"):
        """Somebody does not."""
        return self.back(self.asked(url), error=error, error_description="<b>no</b>")

    def asked(self, url):
        """What a URL asks for, which is all that is needed."""
        at, _, query = url.partition("?")
        asked = dict(urllib.parse.parse_qsl(query, strict_parsing=True))
        assert at == f"{self.issuer}/auth" and asked["realm"] == "nost"
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT, "S256")
        assert len(asked["state"]) == len(asked["code_challenge"]) == 43
        return asked

    @staticmethod
    def back(asked, **told):
        """The URL that a browser is sent back to."""
        return f"{asked['redirect_uri']}?{urllib.parse.urlencode(told | {'state': asked['state']})}"

    def reply(self, handler):
        """Also tokens."""
        if handler.command != "POST" or handler.path != "/realms/nost/token":
            return super().reply(handler)
        text = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        form = dict(urllib.parse.parse_qsl(text, strict_parsing=True))
        self.forms.append(form)
        with self.moved_on:
            self.moved_on.wait_for(lambda: self.at_token != "hang", timeout=30)
        if self.at_token == "fail":
            return 500, {}
        if self.at_token == "garbage":
            return 200, ["no object"]
        if self.client_of(handler, form) != (CLIENT, self.secret):
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or (challenge, form["redirect_uri"]) != (asked["code_challenge"], asked["redirect_uri"]):
            return 400, {"error": "invalid_grant", "error_description": "a code of\nnobody's"}
        token = key().sign(claims(iss=self.issuer, **self.claims))
        kind = "mac" if self.at_token == "another kind" else "bearer"
        given = {} if self.at_token == "no token" else {"access_token": token}
        return 200, given | {"token_type": kind, "id_token": "x", "refresh_token": "y"}

    def client_of(self, handler, form):
        """Who asks, and their secret."""
        head = handler.headers["Authorization"]
        if head is None:
            return form.get("client_id"), form.get("client_secret", "")
        assert "client_secret" not in form and head.startswith("Basic ")
        name, _, secret = base64.b64decode(head[6:]).decode().partition(":")
        return urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(secret)
