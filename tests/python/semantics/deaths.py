"""What a dead letter says of its deaths."""

import datetime
import time


def death(queue, reason, keys, exchange="", count=1, expiration=None):
    """An entry of x-death without its time."""
    first = {} if expiration is None else {"original-expiration": expiration}
    return first | {"count": count, "reason": reason, "queue": queue, "exchange": exchange, "routing-keys": keys}


def deaths(delivery):
    """The entries of x-death without their times, which must be now."""
    found = []
    for entry in delivery.properties.headers["x-death"]:
        at = entry["time"].replace(tzinfo=datetime.timezone.utc).timestamp()
        assert abs(time.time() - at) < 60, entry
        found.append({key: value for key, value in entry.items() if key != "time"})
    return found


def story(headers, which):
    """The (queue, reason, exchange) of the first or the last death."""
    return tuple(headers[f"x-{which}-death-{what}"] for what in ("queue", "reason", "exchange"))
