"""An authorization server of the tests: it signs access tokens, and serves its keys over HTTP or does not."""

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time
from functools import cache

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

FULL = "rabbitmq.configure:*/*/* rabbitmq.write:*/*/* rabbitmq.read:*/*/*"


class Key:
    """A key pair with its id and algorithm."""

    def __init__(self, private, algorithm, kid):
        self.private = private
        self.algorithm = algorithm
        self.kid = kid

    def public_pem(self):
        """The public key in PEM."""
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, public)

    def jwk(self):
        """The public key as a key set has it."""
        made = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        return {key: value for key, value in made.items() if key != "key_ops"} | {
            "kid": self.kid,
            "use": "sig",
            "alg": self.algorithm,
        }

    def sign(self, claims, **header):
        """A token; a header of None is left out."""
        header = {key: value for key, value in ({"kid": self.kid} | header).items() if value is not None}
        return jwt.encode(claims, self.private, self.algorithm, headers=header)


def key(kid="first", algorithm="RS256"):
    """A key, the same one for the same id and algorithm."""
    return made_key(kid, algorithm)


@cache
def made_key(kid, algorithm):
    """RSA keys take their time, so each is made once."""
    if algorithm == "ES256":
        return Key(ec.generate_private_key(ec.SECP256R1()), algorithm, kid)
    if algorithm == "ES384":
        return Key(ec.generate_private_key(ec.SECP384R1()), algorithm, kid)
    if algorithm == "ES512":
        return Key(ec.generate_private_key(ec.SECP521R1()), algorithm, kid)
    if algorithm == "EdDSA":
        return Key(ed25519.Ed25519PrivateKey.generate(), algorithm, kid)
    return Key(rsa.generate_private_key(65537, 2048), algorithm, kid)


def claims(scope=FULL, lives=60, **changes):
    """Claims that the broker believes, changed; None takes one away."""
    made = {"aud": "rabbitmq", "exp": int(time.time()) + lives, "sub": "ada", "scope": scope} | changes
    return {name: value for name, value in made.items() if value is not None}


def token(scope=FULL, lives=60, **changes):
    """A token of the first key."""
    return key().sign(claims(scope, lives, **changes))


def encoded(value):
    """A part of a token."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def by_hand(header, body, secret=None):
    """A token with whatever header, signed by HMAC-SHA256 with `secret` or not at all."""
    signed = f"{encoded(header)}.{encoded(body)}"
    signature = b"" if secret is None else hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{encoded(signature)}"


class KeyServer:
    """Serves a key set on loopback, within TLS if there is a `certificate` (the paths of it and its key). What it does
    can be changed while it runs.

    `behaviour` is "answer", "fail" (500), "garbage" or "hang" (nothing is answered until it is changed or stopped).
    """

    def __init__(self, *keys, certificate=None):
        self.keys = list(keys)
        self.behaviour = "answer"
        self.requests = []
        self.issuer_name = None
        self._moved_on = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self):  # noqa: N802, the name is the library's
                outer._answer(self)

            def do_POST(self):  # noqa: N802, the name is the library's
                outer._answer(self)

            def log_message(self, *_):
                """Nothing is printed."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        scheme = "http"
        if certificate:
            scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, certificate))
            # The handshake is left to the thread of the connection: a client that gives up holds up nobody.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._server.handle_error = lambda *_: None
        self.issuer = f"{scheme}://localhost:{self._server.server_port}/realms/nost"
        self.url = f"{self.issuer}/certs"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.behave("answer")
        self._server.shutdown()
        self._server.server_close()

    def behave(self, behaviour):
        """From now on it does something else; requests that hang are answered."""
        with self._moved_on:
            self.behaviour = behaviour
            self._moved_on.notify_all()

    def metadata(self):
        """What the issuer tells of itself."""
        return {"issuer": self.issuer_name or self.issuer, "jwks_uri": self.url}

    def reply(self, handler):
        """Status and JSON for a request."""
        if handler.path.endswith("/.well-known/openid-configuration"):
            return 200, self.metadata()
        if handler.path == "/realms/nost/certs":
            return 200, {"keys": [known.jwk() for known in self.keys]}
        return 404, {}

    def _answer(self, handler):
        self.requests.append(handler.path)
        with self._moved_on:
            self._moved_on.wait_for(lambda: self.behaviour != "hang", timeout=30)
        status, body = self.reply(handler)
        text = json.dumps(body).encode()
        if self.behaviour == "fail":
            status, text = 500, b"{}"
        elif self.behaviour == "garbage":
            text = b"<html>"
        try:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text)
        except OSError:
            pass  # Whoever asked did not wait.
