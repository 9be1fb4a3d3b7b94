"""An application in the manner of nost-tools, with Keycloak's tokens: no user name, the token as the password, nowait
declarations on one channel, and a thread that renews the token."""

import time

import pika
import pytest

from support.authorization_server import KeyServer, claims, key
from support.deadline import eventually, pump

from .conftest import log_in

pytestmark = pytest.mark.own_broker

ROLES = [f"rabbitmq.{right}:*/nost*/nost*" for right in ("configure", "write", "read")]


def keycloak_token(issuer, roles=ROLES, lives=60):
    """A token as Keycloak makes it; with its usual claims it has 2 to 4 kB."""
    account = {"roles": ["manage-account", "manage-account-links", "view-profile"]}
    return key().sign(
        claims(
            scope="openid profile email offline_access",
            lives=lives,
            aud=["rabbitmq", "account"],
            iss=issuer,
            iat=int(time.time()),
            nbf=0,
            typ="Bearer",
            azp="nost-client",
            sid="5b6c1f3e-9a0c-4c57-9d3f-0d8f0a3f7a11",
            acr="1",
            user_name="ada.lovelace",
            preferred_username="ada",
            realm_access={"roles": ["default-roles-nost", "uma_authorization", *roles]},
            resource_access={"account": account},
            groups=[f"/missions/simulation-{number:04}" for number in range(60)],
        )
    )


def test_an_application_runs_with_tokens(leveret):
    with KeyServer(key()) as keys:
        broker = leveret(
            {
                "auth.backends": "oauth2",
                "auth.oauth2.resource_server_id": "rabbitmq",
                "auth.oauth2.issuer": keys.issuer,
                "auth.oauth2.preferred_username_claims": "user_name",
                "auth.oauth2.additional_scopes_key": "realm_access.roles",
                "auth.oauth2.leeway": "0",
            }
        )
        first = keycloak_token(keys.issuer, lives=3)
        assert 2500 < len(first) < 4096
        connection = log_in(broker, first, heartbeat=600, frame_max=131_072)
        end = time.monotonic() + 4
        channel = connection.channel()
        channel.exchange_declare("nost", "topic", durable=True, auto_delete=True)
        received = []

        def on_message(on, method, _, body):
            received.append(body)
            on.basic_ack(method.delivery_tag, multiple=True)

        for app in ("manager", "satellite"):
            queue = f"nost.{app}.init.ada"
            channel.queue_declare(queue, durable=True, auto_delete=True)
            channel.queue_bind(queue, "nost", f"nost.{app}.init")
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(queue, on_message)
        number = 0
        while time.monotonic() < end:
            if number == 5:
                connection.update_secret(keycloak_token(keys.issuer), "")
            body = f"message {number}".encode()
            expiry = pika.BasicProperties(expiration="60000", delivery_mode=2)
            channel.basic_publish("nost", ("nost.manager.init", "nost.satellite.init")[number % 2], body, expiry)
            number += 1
            pump(connection, lambda count=number: len(received) == count, "the message came")
            connection.sleep(0.1)
        channel.queue_declare("nost.late", exclusive=True)
        connection.close()
        assert len(received) == number > 10
        eventually(lambda: broker.has_logged("ada.lovelace"), "the log has the name of the token")
