"""Connections of a test, which are closed after it."""

from contextlib import contextmanager, suppress

import pika.exceptions


@contextmanager
def closing_after(connect):
    """Connects as `connect` does, and closes every connection in the end that is open still."""
    opened = []

    def open_one(*arguments, **options):
        opened.append(connect(*arguments, **options))
        return opened[-1]

    try:
        yield open_one
    finally:
        for connection in opened:
            with suppress(pika.exceptions.AMQPError):
                if connection.is_open:
                    connection.close()
