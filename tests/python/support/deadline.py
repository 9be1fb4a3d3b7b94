"""Waiting for a condition with a deadline, so that no test sleeps for luck."""

import asyncio
import time

DEFAULT_SECONDS = 15.0


class DeadlinePassed(AssertionError):
    """The awaited condition did not come true in time."""


def eventually(condition, what, seconds=DEFAULT_SECONDS, pause=0.01):
    """Calls `condition` until it answers something true, and answers that. `what` may be a function that tells it."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise DeadlinePassed(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(pause)


async def eventually_async(condition, what, seconds=DEFAULT_SECONDS, pause=0.01):
    """As `eventually`, while the event loop runs. `condition` is a plain function."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise DeadlinePassed(f"not within {seconds} s: {what}")
        await asyncio.sleep(pause)


def pump(connection, condition, what, seconds=DEFAULT_SECONDS):
    """Lets a pika BlockingConnection process its events until `condition()` is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise DeadlinePassed(f"not within {seconds} s: {what}")
        connection.process_data_events(time_limit=0.02)
