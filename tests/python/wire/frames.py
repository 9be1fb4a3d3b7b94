"""A small AMQP 0-9-1 encoder and decoder for tests.

It is written from the specification and shares nothing with the broker, so that a mistake in one is not
hidden by the same mistake in the other. Everything malformed can be built with it too: tables and method
arguments may be given as raw bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

METHOD, HEADER, BODY, HEARTBEAT_TYPE = 1, 2, 3, 8
FRAME_END = 0xCE
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"

# name: (class id, method id, "argument:type ..."). Types: bit octet short long longlong shortstr longstr table.
_SPEC = """
connection.start 10 10 version_major:octet version_minor:octet server_properties:table mechanisms:longstr locales:longstr
connection.start-ok 10 11 client_properties:table mechanism:shortstr response:longstr locale:shortstr
connection.secure 10 20 challenge:longstr
connection.secure-ok 10 21 response:longstr
connection.tune 10 30 channel_max:short frame_max:long heartbeat:short
connection.tune-ok 10 31 channel_max:short frame_max:long heartbeat:short
connection.open 10 40 virtual_host:shortstr capabilities:shortstr insist:bit
connection.open-ok 10 41 known_hosts:shortstr
connection.close 10 50 reply_code:short reply_text:shortstr class_id:short method_id:short
connection.close-ok 10 51
connection.blocked 10 60 reason:shortstr
connection.unblocked 10 61
connection.update-secret 10 70 new_secret:longstr reason:shortstr
connection.update-secret-ok 10 71
channel.open 20 10 out_of_band:shortstr
channel.open-ok 20 11 channel_id:longstr
channel.flow 20 20 active:bit
channel.flow-ok 20 21 active:bit
channel.close 20 40 reply_code:short reply_text:shortstr class_id:short method_id:short
channel.close-ok 20 41
access.request 30 10 realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit
access.request-ok 30 11 ticket:short
exchange.declare 40 10 ticket:short exchange:shortstr type:shortstr passive:bit durable:bit auto_delete:bit internal:bit no_wait:bit arguments:table
exchange.declare-ok 40 11
exchange.delete 40 20 ticket:short exchange:shortstr if_unused:bit no_wait:bit
exchange.delete-ok 40 21
exchange.bind 40 30 ticket:short destination:shortstr source:shortstr routing_key:shortstr no_wait:bit arguments:table
exchange.bind-ok 40 31
exchange.unbind 40 40 ticket:short destination:shortstr source:shortstr routing_key:shortstr no_wait:bit arguments:table
exchange.unbind-ok 40 51
queue.declare 50 10 ticket:short queue:shortstr passive:bit durable:bit exclusive:bit auto_delete:bit no_wait:bit arguments:table
queue.declare-ok 50 11 queue:shortstr message_count:long consumer_count:long
queue.bind 50 20 ticket:short queue:shortstr exchange:shortstr routing_key:shortstr no_wait:bit arguments:table
queue.bind-ok 50 21
queue.purge 50 30 ticket:short queue:shortstr no_wait:bit
queue.purge-ok 50 31 message_count:long
queue.delete 50 40 ticket:short queue:shortstr if_unused:bit if_empty:bit no_wait:bit
queue.delete-ok 50 41 message_count:long
queue.unbind 50 50 ticket:short queue:shortstr exchange:shortstr routing_key:shortstr arguments:table
queue.unbind-ok 50 51
basic.qos 60 10 prefetch_size:long prefetch_count:short global_:bit
basic.qos-ok 60 11
basic.consume 60 20 ticket:short queue:shortstr consumer_tag:shortstr no_local:bit no_ack:bit exclusive:bit no_wait:bit arguments:table
basic.consume-ok 60 21 consumer_tag:shortstr
basic.cancel 60 30 consumer_tag:shortstr no_wait:bit
basic.cancel-ok 60 31 consumer_tag:shortstr
basic.publish 60 40 ticket:short exchange:shortstr routing_key:shortstr mandatory:bit immediate:bit
basic.return 60 50 reply_code:short reply_text:shortstr exchange:shortstr routing_key:shortstr
basic.deliver 60 60 consumer_tag:shortstr delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr
basic.get 60 70 ticket:short queue:shortstr no_ack:bit
basic.get-ok 60 71 delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr message_count:long
basic.get-empty 60 72 cluster_id:shortstr
basic.ack 60 80 delivery_tag:longlong multiple:bit
basic.reject 60 90 delivery_tag:longlong requeue:bit
basic.recover-async 60 100 requeue:bit
basic.recover 60 110 requeue:bit
basic.recover-ok 60 111
basic.nack 60 120 delivery_tag:longlong multiple:bit requeue:bit
basic.credit 60 200 consumer_tag:shortstr credit:long drain:bit
confirm.select 85 10 no_wait:bit
confirm.select-ok 85 11
tx.select 90 10
tx.select-ok 90 11
tx.commit 90 20
tx.commit-ok 90 21
tx.rollback 90 30
tx.rollback-ok 90 31
"""

Ids = tuple[int, int]


@dataclass(frozen=True)
class MethodSpec:
    """One line of the specification."""

    name: str
    ids: Ids
    arguments: tuple[tuple[str, str], ...]


def _parse_spec() -> dict[str, MethodSpec]:
    specs = {}
    for line in _SPEC.strip().splitlines():
        name, class_id, method_id, *arguments = line.split()
        pairs = tuple((a, t) for a, _, t in (item.partition(":") for item in arguments))
        specs[name] = MethodSpec(name, (int(class_id), int(method_id)), pairs)
    return specs


SPECS = _parse_spec()
_BY_IDS = {spec.ids: spec for spec in SPECS.values()}


def ids(name: str) -> Ids:
    """The class and method id of a method, as a close frame names it."""
    return SPECS[name].ids


# ---------------------------------------------------------------------------------------------- values


@dataclass(frozen=True)
class Raw:
    """Bytes that go out as they are, in place of a table body or of a field value with its tag."""

    data: bytes


Text = str | bytes
Value = bool | int | float | str | bytes | None | Raw | Mapping[str, "Value"] | Sequence["Value"]
Table = Mapping[str, Value] | Raw
Argument = bool | int | Text | Table

_FIXED = {
    "t": ">B",
    "b": ">b",
    "B": ">B",
    "s": ">h",
    "u": ">H",
    "I": ">i",
    "i": ">I",
    "l": ">q",
    "L": ">q",
    "f": ">f",
    "d": ">d",
    "T": ">Q",
}


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text


def shortstr(text: Text) -> bytes:
    """A string of at most 255 bytes with its length octet."""
    data = _bytes(text)
    return struct.pack(">B", len(data)) + data


def longstr(text: Text) -> bytes:
    """A string with a four byte length."""
    data = _bytes(text)
    return struct.pack(">I", len(data)) + data


def tagged(tag: str, number: float) -> Raw:
    """A field value of exactly this type, for instance ``tagged("l", 5)``."""
    return Raw(tag.encode() + struct.pack(_FIXED[tag], number))


def decimal(scale: int, value: int) -> Raw:
    """A decimal field value."""
    return Raw(b"D" + struct.pack(">BI", scale, value))


def field_value(value: Value) -> bytes:
    """A field value with its tag: int as I (l when it does not fit), str as S, None as V."""
    match value:
        case Raw(data):
            return data
        case bool():
            return b"t" + bytes([value])
        case int():
            fits = -(2**31) <= value < 2**31
            return b"I" + struct.pack(">i", value) if fits else b"l" + struct.pack(">q", value)
        case float():
            return b"d" + struct.pack(">d", value)
        case str():
            return b"S" + longstr(value)
        case bytes():
            return b"x" + longstr(value)
        case None:
            return b"V"
        case Mapping():
            return b"F" + table(value)
        case _:
            return b"A" + longstr(b"".join(field_value(item) for item in value))


def entry(key: Text, value: Value) -> bytes:
    """One name and value of a table."""
    return shortstr(key) + field_value(value)


def table(values: Table) -> bytes:
    """A table with its four byte length."""
    if isinstance(values, Raw):
        return longstr(values.data)
    return longstr(b"".join(entry(key, value) for key, value in values.items()))


# --------------------------------------------------------------------------------------------- methods


def _argument(kind: str, value: Argument | None) -> bytes:
    match kind:
        case "octet" | "short" | "long" | "longlong":
            code = {"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q"}[kind]
            return struct.pack(code, value or 0)
        case "shortstr":
            return shortstr(value if isinstance(value, str | bytes) else b"")
        case "longstr":
            return longstr(value if isinstance(value, str | bytes) else b"")
        case _:
            return table(value if isinstance(value, Mapping | Raw) else {})


def arguments(name: str, values: Mapping[str, Argument]) -> bytes:
    """The encoded arguments of a method; those not given are zero or empty."""
    spec = SPECS[name]
    unknown = set(values) - {argument for argument, _ in spec.arguments}
    if unknown:
        raise KeyError(f"{name} has no argument {sorted(unknown)}")
    out = b""
    bits = 0
    octet = 0
    for argument, kind in spec.arguments:
        if kind == "bit":
            octet |= bool(values.get(argument)) << bits
            bits += 1
            continue
        if bits:
            out, bits, octet = out + bytes([octet]), 0, 0
        out += _argument(kind, values.get(argument))
    return out + bytes([octet]) if bits else out


def method_payload(name: str, /, **values: Argument) -> bytes:
    """The payload of a method frame."""
    return struct.pack(">HH", *SPECS[name].ids) + arguments(name, values)


def frame(kind: int, channel: int, payload: bytes, end: int = FRAME_END) -> bytes:
    """A whole frame."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


def method(name: str, on: int = 1, /, **values: Argument) -> bytes:
    """A whole method frame on channel ``on``."""
    return frame(METHOD, on, method_payload(name, **values))


def raw_method(method_ids: Ids, data: bytes = b"", on: int = 1) -> bytes:
    """A method frame with these ids and argument bytes."""
    return frame(METHOD, on, struct.pack(">HH", *method_ids) + data)


HEARTBEAT = frame(HEARTBEAT_TYPE, 0, b"")

# --------------------------------------------------------------------------------------------- content

# name: (flag, type), in wire order
PROPERTIES = {
    "content_type": (0x8000, "shortstr"),
    "content_encoding": (0x4000, "shortstr"),
    "headers": (0x2000, "table"),
    "delivery_mode": (0x1000, "octet"),
    "priority": (0x0800, "octet"),
    "correlation_id": (0x0400, "shortstr"),
    "reply_to": (0x0200, "shortstr"),
    "expiration": (0x0100, "shortstr"),
    "message_id": (0x0080, "shortstr"),
    "timestamp": (0x0040, "longlong"),
    "type": (0x0020, "shortstr"),
    "user_id": (0x0010, "shortstr"),
    "app_id": (0x0008, "shortstr"),
    "cluster_id": (0x0004, "shortstr"),
}


def properties(values: Mapping[str, Argument]) -> bytes:
    """The flags word and the given properties."""
    flags = 0
    out = b""
    for name, (flag, kind) in PROPERTIES.items():
        if name in values:
            flags |= flag
            out += _argument(kind, values[name])
    return struct.pack(">H", flags) + out


def raw_header(size: int, raw_properties: bytes = b"\0\0", *, class_id: int = 60, weight: int = 0) -> bytes:
    """The payload of a content header."""
    return struct.pack(">HHQ", class_id, weight, size) + raw_properties


def header(size: int, on: int = 1, /, **values: Argument) -> bytes:
    """A whole content header frame."""
    return frame(HEADER, on, raw_header(size, properties(values)))


def body(data: bytes, on: int = 1) -> bytes:
    """A whole body frame."""
    return frame(BODY, on, data)


def publish(
    routing_key: Text,
    data: bytes = b"hello",
    *,
    exchange: Text = "",
    on: int = 1,
    mandatory: bool = False,
    **values: Argument,
) -> bytes:
    """The frames of one publish; ``values`` are properties."""
    start = method("basic.publish", on, exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    return start + header(len(data), on, **values) + (body(data, on) if data else b"")


# -------------------------------------------------------------------------------------------- decoding

Decoded = bool | int | float | str | bytes | None | dict[str, "Decoded"] | list["Decoded"] | tuple[int, int]


@dataclass(frozen=True)
class Frame:
    """A frame as it was read."""

    kind: int
    channel: int
    payload: bytes

    def describe(self) -> str:
        """The frame in words, for failure messages."""
        if self.kind == METHOD:
            return repr(decode_method(self))
        names = {HEADER: "header", BODY: "body", HEARTBEAT_TYPE: "heartbeat"}
        return f"{names.get(self.kind, self.kind)} on channel {self.channel}: {self.payload[:60]!r}"


@dataclass(frozen=True)
class Method:
    """A decoded method."""

    name: str
    channel: int
    args: dict[str, Decoded] = field(default_factory=dict)

    def text(self, argument: str) -> str:
        """A string argument."""
        value = self.args[argument]
        assert isinstance(value, str), f"{argument} is {value!r}"
        return value

    def number(self, argument: str) -> int:
        """An integer argument."""
        value = self.args[argument]
        assert isinstance(value, int), f"{argument} is {value!r}"
        return value


class Reader:
    """Reads values off a payload; anything malformed raises ValueError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if self.at + count > len(self.data):
            raise ValueError(f"{count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, code: str) -> int:
        """A number in struct notation."""
        return int(struct.unpack(code, self.take(struct.calcsize(code)))[0])

    def shortstr(self) -> str:
        """A short string; bytes that are not UTF-8 survive as surrogates."""
        return self.take(self.number(">B")).decode(errors="surrogateescape")

    def longstr(self) -> bytes:
        """A long string."""
        return self.take(self.number(">I"))

    def table(self) -> dict[str, Decoded]:
        """A field table."""
        inner = Reader(self.longstr())
        return dict(inner.entries())

    def entries(self) -> Iterator[tuple[str, Decoded]]:
        """Names and values up to the end."""
        while self.at < len(self.data):
            key = self.shortstr()
            yield key, self.value()

    def value(self) -> Decoded:
        """A field value with its tag."""
        tag = self.take(1).decode("latin-1")
        match tag:
            case "S":
                return self.longstr().decode(errors="surrogateescape")
            case "x":
                return self.longstr()
            case "F":
                return self.table()
            case "A":
                inner = Reader(self.longstr())
                items = []
                while inner.at < len(inner.data):
                    items.append(inner.value())
                return items
            case "V":
                return None
            case "D":
                return self.number(">B"), self.number(">I")
            case "t":
                return bool(self.number(">B"))
            case "f" | "d":
                return float(struct.unpack(_FIXED[tag], self.take(4 if tag == "f" else 8))[0])
            case _ if tag in _FIXED:
                return self.number(_FIXED[tag])
        raise ValueError(f"unknown field tag {tag!r}")

    def argument(self, kind: str) -> Decoded:
        """A method argument or property of this type, except bits."""
        match kind:
            case "octet" | "short" | "long" | "longlong":
                return self.number({"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q"}[kind])
            case "shortstr":
                return self.shortstr()
            case "longstr":
                return self.longstr().decode(errors="surrogateescape")
        return self.table()


def decode_method(source: Frame) -> Method:
    """The method of a method frame; everything in the payload must be accounted for."""
    reader = Reader(source.payload)
    method_ids = (reader.number(">H"), reader.number(">H"))
    spec = _BY_IDS.get(method_ids)
    if spec is None:
        raise ValueError(f"unknown method {method_ids}")
    args: dict[str, Decoded] = {}
    octet, bits = 0, 8
    for name, kind in spec.arguments:
        if kind != "bit":
            args[name], bits = reader.argument(kind), 8
            continue
        if bits == 8:
            octet, bits = reader.number(">B"), 0
        args[name] = bool(octet >> bits & 1)
        bits += 1
    if reader.at != len(reader.data):
        raise ValueError(f"{len(reader.data) - reader.at} bytes too many in {spec.name}")
    return Method(spec.name, source.channel, args)


@dataclass(frozen=True)
class Content:
    """A message: its properties, raw and decoded, and its body."""

    raw: bytes
    properties: dict[str, Decoded]
    body: bytes

    @property
    def headers(self) -> dict[str, Decoded]:
        """The headers property, empty when absent."""
        headers = self.properties.get("headers", {})
        assert isinstance(headers, dict)
        return headers


def decode_header(payload: bytes) -> tuple[int, bytes, dict[str, Decoded]]:
    """Body size, raw properties (from the flags word on) and decoded ones."""
    reader = Reader(payload)
    class_id, weight, size = reader.number(">H"), reader.number(">H"), reader.number(">Q")
    if (class_id, weight) != (60, 0):
        raise ValueError(f"content header of class {class_id}, weight {weight}")
    start = reader.at
    flags = reader.number(">H")
    values = {}
    for name, (flag, kind) in PROPERTIES.items():
        if flags & flag:
            values[name] = reader.argument(kind)
    if reader.at != len(payload):
        raise ValueError("bytes after the properties")
    return size, payload[start:], values
