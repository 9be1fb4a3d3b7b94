"""Brokers that take access tokens."""

import pika
import pytest

from support import authorization_server as server

SECRET = "a secret of thirty-two bytes or more"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The public keys as files."""
    directory = tmp_path_factory.mktemp("keys")
    kinds = {"p256": "ES256", "p384": "ES384", "p521": "ES512", "ed": "EdDSA"}
    for known in [server.key(), *(server.key(kid, algorithm) for kid, algorithm in kinds.items())]:
        (directory / f"{known.kid}.pem").write_bytes(known.public_pem())
    return directory


@pytest.fixture(scope="module")
def with_files(files):
    """Settings of a broker that knows these keys and a secret."""
    return {
        "auth.backends": "oauth2,internal",
        "auth.failed_login_delay": "0",
        "auth.oauth2.resource_server_id": "rabbitmq",
        "auth.oauth2.leeway": "0",
        "auth.oauth2.preferred_username_claims": "user_name",
        "auth.oauth2.additional_scopes_key": "extra_scope,realm_access.roles,resource_access.nost.roles",
        "auth.oauth2.scope_aliases.nost-admin": "rabbitmq.tag:administrator rabbitmq.configure:*/*",
        "auth.oauth2.hmac_secrets.shared": SECRET,
        "vhosts.names": "staging",
        "log.level": "trace",
    } | {f"auth.oauth2.signing_keys.{path.stem}": path for path in files.iterdir()}


def log_in(broker, token, vhost="/", user="", **options):
    """A connection with a token as the password; NOS-T sends no user name."""
    parameters = broker.parameters(vhost, **options)
    parameters.credentials = pika.PlainCredentials(user, token)
    return pika.BlockingConnection(parameters)


@pytest.fixture
def login():
    """Opens connections with tokens: `login(broker, token)`. They are closed after the test."""
    opened = []

    def one(*arguments, **options):
        opened.append(log_in(*arguments, **options))
        return opened[-1]

    yield one
    for connection in opened:
        if connection.is_open:
            connection.close()
