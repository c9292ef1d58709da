"""Our notation for Kafka's messages, and its parser.

    api KEY Name [unstable]
    request|response|data|… Name FIRST-LAST flexible FIRST+|none [key N]
      field type VERSIONS [null VERSIONS] [tag N VERSIONS] [flexible VERSIONS] [ignorable] [= default]
    struct Name VERSIONS          (shared by fields of that type)

Two spaces a level; a field's children are the fields of its struct. VERSIONS: 3, 3-7 or 3+. Types: bool, int8 … int64,
uint16, uint32, float64, string, bytes, uuid, records, a struct's name; [] before one makes it an array.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

FOREVER = 1 << 15
Versions = tuple[int, int]
NONE: Versions = (1, 0)


def versions(text: str) -> Versions:
    if text == "none":
        return NONE
    match = re.fullmatch(r"(\d+)(?:(\+)|-(\d+))?", text)
    assert match, f"versions {text!r}"
    low = int(match[1])
    return low, FOREVER if match[2] else int(match[3] or low)


def overlap(a: Versions, b: Versions) -> Versions:
    return max(a[0], b[0]), min(a[1], b[1])


def without(a: Versions, b: Versions) -> Versions:
    """a less b, where b is the upper part of a or lies outside it."""
    if b[0] > b[1] or b[0] > a[1]:
        return a
    return a[0], min(a[1], b[0] - 1)


@dataclass
class Field:
    name: str
    type: str
    versions: Versions
    null: Versions = NONE
    tag: int = -1
    tagged: Versions = NONE
    flexible: Versions | None = None
    ignorable: bool = False
    default: str | None = None
    fields: list["Field"] = field(default_factory=list)

    @property
    def item(self) -> str:
        return self.type.removeprefix("[]")

    @property
    def is_array(self) -> bool:
        return self.type.startswith("[]")


@dataclass
class Struct:
    name: str
    versions: Versions
    fields: list[Field]


@dataclass
class Message:
    kind: str
    name: str
    versions: Versions
    flexible: Versions
    fields: list[Field] = field(default_factory=list)
    structs: list[Struct] = field(default_factory=list)
    key: int = -1


@dataclass
class Definition:
    """One file: an API with its request and response, or a single internal message."""

    path: Path
    key: int = -1
    name: str = ""
    unstable: bool = False
    messages: list[Message] = field(default_factory=list)


def parse_field(line: str) -> Field:
    line, _, default = line.partition(" = ")
    words = line.split()
    parsed = Field(words[0], words[1], versions(words[2]), default=default if _ else None)
    rest = iter(words[3:])
    for word in rest:
        if word == "null":
            parsed.null = versions(next(rest))
        elif word == "tag":
            parsed.tag, parsed.tagged = int(next(rest)), versions(next(rest))
        elif word == "flexible":
            parsed.flexible = versions(next(rest))
        elif word == "ignorable":
            parsed.ignorable = True
        else:
            raise ValueError(f"{word!r} in {line!r}")
    return parsed


def parse(path: Path) -> Definition:
    definition = Definition(path)
    levels: list[list[Field]] = []
    for line in path.read_text().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        words = line.split()
        if depth:
            parsed = parse_field(line.strip())
            del levels[depth:]
            levels[depth - 1].append(parsed)
            levels.append(parsed.fields)
        elif words[0] == "api":
            definition.key, definition.name, definition.unstable = (
                int(words[1]),
                words[2],
                "unstable" in words,
            )
        elif words[0] == "struct":
            struct = Struct(words[1], versions(words[2]), [])
            definition.messages[-1].structs.append(struct)
            levels = [struct.fields]
        else:
            message = Message(words[0], words[1], versions(words[2]), versions(words[4]))
            if "key" in words:
                message.key = int(words[words.index("key") + 1])
            definition.messages.append(message)
            levels = [message.fields]
    return definition


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
