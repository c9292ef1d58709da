"""From files, environment and flags to the options of one broker, with every mistake named by its line.

Order     a `.properties` file (a Kafka server.properties is accepted as it is), then BARNABAS_* variables, then flags.
          An embedded broker has its settings from a program instead.
          BARNABAS_LOG_RETENTION_MS stands for log.retention.ms; options of ours keep their prefix once:
          BARNABAS_DURABILITY is barnabas.durability.
Syntax    Java's: `#` or `!` comments, `=`, `:` or blanks between key and value, `\\` continues a line, \\uXXXX.
"""

import re
from collections.abc import Mapping
from typing import Final

from barnabas.config.option import nearest, split_list
from barnabas.config.tables import BROKER, options

ENVIRONMENT_PREFIX: Final = "BARNABAS_"
DEFAULT_NODE_ID: Final = 1
PORT_MAX: Final = 65535
BOOTSTRAP: Final = "barnabas.bootstrap.listeners"
NOT_OPTIONS: Final = frozenset({"BARNABAS_BOOTSTRAP", "BARNABAS_KAFKA_LIB", "BARNABAS_DATA"})
PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
ANY_HOST: Final = frozenset({"", "0.0.0.0", "::"})
LISTENER: Final = re.compile(r"([A-Za-z0-9_\-]+)://(?:\[([0-9A-Fa-f:.%]*)\]|([^:\[\]]*)):(-?\d+)\Z")
OFFSETS_SEGMENT_BYTES_MIN: Final = 1024 * 1024
"""The least segment.bytes of any topic."""
OFFSETS_PARTITIONS_MAX: Final = 10_000
"""As many as one request may make."""
ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class ConfigRefused(Exception):
    """The configuration cannot be used. faults: one sentence each, with where it stands and the remedy."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Listener:
    """An address to listen on, or one that clients are told."""

    __slots__ = ("host", "name", "port", "protocol")

    def __init__(self, name: str, host: str, port: int, protocol: str) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.protocol = protocol

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listener) and all(
            getattr(self, slot) == getattr(other, slot) for slot in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


class Loaded:
    """What was read: values to use, and remarks for the log."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.warnings: list[str] = []
        self.inert: list[str] = []


def parse_properties(text: str) -> list[tuple[str, str, int]]:
    """(key, value, line number) in order."""
    found = []
    lines = re.split(r"\r\n|\n|\r", text)
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at].lstrip(" \t\f")
        at += 1
        if not line or line[0] in "#!":
            continue
        while len(line) - len(line.rstrip("\\")) & 1 and at < len(lines):
            line = line[:-1] + lines[at].lstrip(" \t\f")
            at += 1
        match = re.match(r"((?:\\.|[^\\\s=:])*)[ \t\f]*[=:]?[ \t\f]*(.*)", line, re.S)
        assert match
        found.append((_unescape(match[1]), _unescape(match[2]), number))
    return found


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code, letter = match[1], match[2]
        return chr(int(code, 16)) if code else ESCAPES.get(letter, letter)

    return re.sub(r"\\(?:u([0-9A-Fa-f]{4})|(.))", one, text, flags=re.S)


def load(
    text: str = "",
    where: str = "configuration",
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Loaded:
    """settings: what a program gives by name (`Broker(config=…)`). Raises ConfigRefused with every fault found."""
    loaded = Loaded()
    faults: list[str] = []
    known = options(BROKER)

    def take(name: str, value: str, place: str) -> None:
        value = value.strip()
        option = known.get(name)
        if option is None:
            guess = nearest(name, list(known))
            if not _is_foreign(name):
                hint = f"; did you mean {guess}?" if guess else ""
                loaded.warnings.append(f"{place}: unknown key {name}{hint}")
            return
        fault = option.fault(value)
        if fault is not None:
            faults.append(f"{place}: {fault}")
            return
        loaded.values[name] = value
        if option.is_inert and name not in loaded.inert:
            loaded.inert.append(name)

    for key, value, line in parse_properties(text):
        take(key, value, f"{where}:{line}")
    for variable, value in sorted((environment or {}).items()):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in NOT_OPTIONS:
            take(_option_of(variable), value, variable)
    for key, value in (flags or {}).items():
        take(key, value, f"flag {key}")
    for key, value in (settings or {}).items():
        take(key, value, "config")
    faults += _refusals(loaded.values)
    if faults:
        raise ConfigRefused(faults)
    return loaded


def _is_foreign(name: str) -> bool:
    """Keys that Kafka takes by pattern: of a listener, of a plug-in, of metrics reporters."""
    return name.startswith(
        ("listener.name.", "confluent.", "metric.reporters", "rsm.config.", "rlmm.config.")
    )


def _option_of(variable: str) -> str:
    name = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("_", ".")
    own = f"barnabas.{name}"
    return own if own in options(BROKER) else name


def _refusals(values: Mapping[str, str]) -> list[str]:
    """What is understood and not served."""
    faults = []
    folders = split_list(values.get("log.dirs", ""))
    if len(folders) > 1:
        faults.append(
            f"log.dirs names {len(folders)} folders: this version keeps its data in one. Name one folder in log.dirs."
        )
    faults += _offsets_topic_faults(values)
    try:
        for listener in listeners_of(values):
            if listener.protocol != "PLAINTEXT":
                faults.append(
                    f"listeners: {listener.name} asks for {listener.protocol}, which this version does not serve. "
                    "Use PLAINTEXT on an address that only trusted clients reach."
                )
        bootstrap_of(values)
        advertised_of(values, {})
        faults += _worker_faults(values)
    except ValueError as error:
        faults.append(str(error))
    return faults


def _offsets_topic_faults(values: Mapping[str, str]) -> list[str]:
    """Values that Kafka takes, and then cannot make the topic with."""
    faults = []
    text = "{}: __consumer_offsets cannot be made with {}, and without it there are no groups. Use {}, or leave it out."
    segment_bytes = int(values.get("offsets.topic.segment.bytes", OFFSETS_SEGMENT_BYTES_MIN))
    if segment_bytes < OFFSETS_SEGMENT_BYTES_MIN:
        what, remedy = f"segments of {segment_bytes} bytes", f"at least {OFFSETS_SEGMENT_BYTES_MIN}"
        faults.append(text.format("offsets.topic.segment.bytes", what, remedy))
    count = int(values.get("offsets.topic.num.partitions", OFFSETS_PARTITIONS_MAX))
    if count > OFFSETS_PARTITIONS_MAX:
        what, remedy = f"{count} partitions at once", f"at most {OFFSETS_PARTITIONS_MAX}"
        faults.append(text.format("offsets.topic.num.partitions", what, remedy))
    return faults


def _worker_faults(values: Mapping[str, str]) -> list[str]:
    listeners, count, first = (
        listeners_of(values),
        number_of("barnabas.workers", values),
        number_of("barnabas.workers.port", values),
    )
    if count == 1 or first == 0:
        return []
    after = first + len(listeners) * count
    if after > PORT_MAX + 1:
        return [f"barnabas.workers.port: {first} leaves no room for {count} workers: take a smaller one"]
    return [
        f"barnabas.workers.port: the workers' own ports {first} to {after - 1} include {listener.port}, which listeners has: "
        "choose another"
        for listener in listeners
        if first <= listener.port < after
    ]


def number_of(name: str, values: Mapping[str, str]) -> int:
    """An option's number: the value that is set, else its default. Raises ValueError for what is none."""
    return int(values.get(name) or options(BROKER)[name].default or 0)


def listeners_of(values: Mapping[str, str]) -> list[Listener]:
    """The listeners to open; those of the controller are left out. Raises ValueError."""
    text = values.get("listeners") or "PLAINTEXT://:9092"
    controllers = split_list(values.get("controller.listener.names", ""))
    found = parse_listeners("listeners", text, values)
    own = [listener for listener in found if listener.name not in controllers]
    if not own:
        raise ValueError(
            "listeners: only controller listeners are named; add one for clients, PLAINTEXT://:9092"
        )
    return own


def bootstrap_of(values: Mapping[str, str]) -> list[Listener]:
    """The addresses that this broker shares with the other workers. Raises ValueError."""
    own = {listener.name for listener in listeners_of(values)}
    shared = parse_listeners(BOOTSTRAP, values.get(BOOTSTRAP, ""), values)
    for listener in shared:
        if listener.name not in own:
            raise ValueError(f"{BOOTSTRAP}: {listener.name} is not among listeners: use one of their names")
    return shared


def node_id_of(values: Mapping[str, str]) -> int:
    for name in ("node.id", "broker.id"):
        if int(values.get(name, "-1")) >= 0:
            return int(values[name])
    return DEFAULT_NODE_ID


def parse_listeners(key: str, text: str, values: Mapping[str, str]) -> list[Listener]:
    protocols = dict(
        item.split(":", 1)
        for item in split_list(values.get("listener.security.protocol.map", ""))
        if ":" in item
    )
    found: list[Listener] = []
    for item in split_list(text):
        match = LISTENER.match(item)
        if match is None:
            raise ValueError(
                f"{key}: {item!r} is not NAME://host:port (IPv6 in brackets: PLAINTEXT://[::1]:9092)"
            )
        name, port = match[1].upper(), int(match[4])
        protocol = protocols.get(name, name if name in PROTOCOLS else "")
        if not protocol and name not in split_list(values.get("controller.listener.names", "")):
            raise ValueError(
                f"{key}: no security protocol for {name}: add it to listener.security.protocol.map"
            )
        if not 0 <= port <= PORT_MAX:
            raise ValueError(f"{key}: port {port} of {name} is not between 0 and 65535")
        if any(listener.name == name for listener in found):
            raise ValueError(f"{key}: {name} is named twice")
        found.append(Listener(name, match[2] if match[2] is not None else match[3], port, protocol))
    return found


def advertised_of(values: Mapping[str, str], bound: Mapping[str, tuple[str, int]]) -> dict[str, Listener]:
    """What clients are told, by listener name. bound: where each one really listens (a port 0 is known only then).

    An address that means "any" is never told: a listener without a host of its own is advertised as localhost.
    Raises ValueError for advertised.listeners that cannot be told or are not listened on.
    """
    told: dict[str, Listener] = {}
    for listener in listeners_of(values):
        host, port = bound.get(listener.name, (listener.host, listener.port))
        if listener.host in ANY_HOST or host in ANY_HOST:
            host = "localhost"
        told[listener.name] = Listener(listener.name, host, port, listener.protocol)
    for listener in parse_listeners("advertised.listeners", values.get("advertised.listeners", ""), values):
        if listener.host in ANY_HOST:
            raise ValueError(
                f"advertised.listeners: {listener} cannot be reached by a client; name a host, or leave it out"
            )
        if listener.name in told:
            told[listener.name] = listener
    return told
