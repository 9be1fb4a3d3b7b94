"""Permissions of users, set as fast as a table of hundreds of cases needs it: through the control socket of a Leveret of
our own, or through the management API of a RabbitMQ that LEVERET_TEST_MANAGEMENT names (http://guest:guest@host:15672).
"""

import base64
import json
import urllib.parse
import urllib.request

from support.local import local_call


class ControlSocket:
    """What `leveret ctl` does, without starting it each time."""

    def __init__(self, broker):
        self.data_dir = broker.data_dir

    def call(self, method, path, body=None):
        """A call of the API; what is missing is no error."""
        status, answer = local_call(self.data_dir, method, path, body)
        assert status < 300 or status == 404, answer

    def set(self, user, vhost, configure, write, read):
        """Sets a user's permissions."""
        self.call("PUT", ("permissions", vhost, user), {"configure": configure, "write": write, "read": read})

    def clear(self, user, vhost):
        """Takes them away."""
        self.call("DELETE", ("permissions", vhost, user))

    def set_topic(self, user, vhost, exchange, write, read):
        """Sets a user's permissions on a topic exchange."""
        body = {"exchange": exchange, "write": write, "read": read}
        self.call("PUT", ("topic-permissions", vhost, user), body)

    def clear_topic(self, user, vhost):
        """Takes those on all topic exchanges away."""
        self.call("DELETE", ("topic-permissions", vhost, user))


class Management:
    """The same on a RabbitMQ."""

    def __init__(self, url):
        parts = urllib.parse.urlparse(url)
        self.base = f"http://{parts.hostname}:{parts.port}/api"
        login = f"{parts.username}:{parts.password}".encode()
        self.headers = {"Authorization": f"Basic {base64.b64encode(login).decode()}"}

    def call(self, method, path, body=None):
        """A call of the API; what is missing is no error."""
        path = "/".join(urllib.parse.quote(part, safe="") for part in path)
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.base}/{path}", data, headers, method=method)
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise

    def set(self, user, vhost, configure, write, read):
        """Sets a user's permissions."""
        self.call("PUT", ("permissions", vhost, user), {"configure": configure, "write": write, "read": read})

    def clear(self, user, vhost):
        """Takes them away."""
        self.call("DELETE", ("permissions", vhost, user))

    def set_topic(self, user, vhost, exchange, write, read):
        """Sets a user's permissions on a topic exchange."""
        body = {"exchange": exchange, "write": write, "read": read}
        self.call("PUT", ("topic-permissions", vhost, user), body)

    def clear_topic(self, user, vhost):
        """Takes those on all topic exchanges away."""
        self.call("DELETE", ("topic-permissions", vhost, user))
