"""The rows W1 to W170, one file per part of the wire."""

from ..row import Row
from . import (
    arguments,
    channels,
    consuming,
    content,
    framing,
    handshake,
    settling,
    topology,
    tuning,
)

ROWS: list[Row] = [
    *handshake.ROWS,
    *tuning.ROWS,
    *framing.ROWS,
    *channels.ROWS,
    *content.ROWS,
    *arguments.ROWS,
    *settling.ROWS,
    *consuming.ROWS,
    *topology.ROWS,
]
