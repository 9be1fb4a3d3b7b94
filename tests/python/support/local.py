"""The management API over the control socket in a data directory."""

import http.client
import json
import os
import socket
import urllib.parse


class LocalConnection(http.client.HTTPConnection):
    """A connection to the control socket."""

    def __init__(self, data_dir, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.data_dir = data_dir

    def connect(self):
        """Connects, whatever length the directory's path has."""
        directory = os.open(self.data_dir, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{directory}/control")
        finally:
            os.close(directory)


def local_call(data_dir, method, path, body=None):
    """Status and body of an answer; `path` is a tuple of names below `/api`."""
    target = "/api/" + "/".join(urllib.parse.quote(part, safe="") for part in path)
    connection = LocalConnection(data_dir)
    try:
        connection.request(method, target, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    return answer.status, text
