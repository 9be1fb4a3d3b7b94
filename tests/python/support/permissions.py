"""Permissions of users, set as fast as a table of hundreds of cases needs it: through the control socket of a Leveret of
our own, or through the management API of a RabbitMQ that LEVERET_TEST_MANAGEMENT names (http://guest:guest@host:15672).
"""

import base64
import json
import os
import socket
import urllib.parse
import urllib.request


class ControlSocket:
    """What `leveret ctl` does, without starting it each time."""

    def __init__(self, broker):
        self.data_dir = broker.data_dir

    def ask(self, permit):
        """Sends a request about permissions and answers what comes back."""
        directory = os.open(self.data_dir, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as stream:
                # The directory may have a longer path than a socket.
                stream.connect(f"/proc/self/fd/{directory}/control")
                line = json.dumps({"do": "permissions", "permit": permit})
                stream.sendall(f"ctl {line}\n".encode())
                answer = b"".join(iter(lambda: stream.recv(65536), b"")).decode()
        finally:
            os.close(directory)
        assert answer.startswith("ok "), answer
        return json.loads(answer[3:])

    def set(self, user, vhost, configure, write, read):
        """Sets a user's permissions."""
        names = {"vhost": vhost, "user": user}
        self.ask({"do": "set", **names, "configure": configure, "write": write, "read": read})

    def clear(self, user, vhost):
        """Takes them away."""
        self.ask({"do": "clear", "vhost": vhost, "user": user})

    def set_topic(self, user, vhost, exchange, write, read):
        """Sets a user's permissions on a topic exchange."""
        names = {"vhost": vhost, "user": user, "exchange": exchange}
        self.ask({"do": "set_topic", **names, "write": write, "read": read})

    def clear_topic(self, user, vhost):
        """Takes those on all topic exchanges away."""
        self.ask({"do": "clear_topic", "vhost": vhost, "user": user})


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
