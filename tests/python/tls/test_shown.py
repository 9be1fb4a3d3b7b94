"""What the management API shows of TLS: connections' ciphers and certificates, and certificates that end."""

import pika

from support.deadline import eventually
from support.management import Api


def test_a_connection_shows_its_encryption(mutual, authority, context):
    broker = mutual({"storage.sync": "never"})
    options = pika.SSLOptions(context(authority.client()), "localhost")
    with pika.BlockingConnection(broker.secure.parameters(ssl_options=options)), api_of(broker) as api:
        (row,) = api.read("connections")
        assert (row["ssl"], row["ssl_protocol"], row["ssl_key_exchange"]) == (True, "tlsv1.3", "any")
        assert row["ssl_cipher"].startswith(("aes_", "chacha20_")) and row["ssl_hash"].startswith("sha")
        assert (row["peer_cert_subject"], row["peer_cert_issuer"]) == ("CN=client,O=Acme", "O=Leveret test authority")
        assert " - " in row["peer_cert_validity"]
    with pika.BlockingConnection(broker.parameters()), api_of(broker) as api:
        plain = lambda: [row for row in api.read("connections") if not row["ssl"]]
        (row,) = eventually(plain, "the connection without TLS")
        assert (row["ssl_protocol"], row["peer_cert_subject"]) == (None, None)


def test_certificates_that_end_are_told(secure):
    broker = secure()
    with api_of(broker) as api:
        check = lambda *within: api.get("health", "checks", "certificate-expiration", *within)
        assert check(1, "days").json == {"status": "ok"}
        answer = check(200, "years")
        assert (answer.status, answer.json["status"]) == (503, "failed")
        (expired,) = answer.json["expired"]
        assert expired["certfile"].endswith(".pem") or expired["certfile"]
        assert broker.secure.port in [listener["port"] for listener in expired["listeners"]]


def api_of(broker):
    """The API of a broker."""
    return Api("127.0.0.1", broker.port_of("http"))
