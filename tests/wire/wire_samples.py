"""Random messages of every kind and version, built from the definitions: what the codec tests feed on."""

import random
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "codegen"))

from notation import Definition, Field, Message, Versions, overlap, parse  # noqa: E402
from shapes import Shapes, attribute, valid  # noqa: E402

from barnabas.wire.primitives import Records  # noqa: E402

INT_BITS = {"int8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32, "int64": 64}
HEADERS = ("request_header", "response_header")
TEXTS = ("", "a", "orders", "größe-ß", "日本", "x" * 130)
ERROR_CODE_MAX = 118
TIMESTAMP_MAX = 1 << 41


class Kind:
    """One message of one module, in one version."""

    def __init__(self, definition: Definition, message: Message, version: int) -> None:
        self.definition = definition
        self.message = message
        self.version = version
        self.shapes = Shapes(definition)

    def __str__(self) -> str:
        return f"{self.message.name}-v{self.version}"

    __repr__ = __str__

    @property
    def module(self) -> ModuleType:
        package = "messages" if self.definition.key >= 0 else "internal"
        return import_module(f"barnabas.wire.{package}.{self.definition.path.stem}")

    @property
    def suffix(self) -> str:
        return f"_{self.message.kind}" if self.message.kind in ("request", "response") else ""

    def decode(self, content: bytes, start: int = 0) -> Any:
        return getattr(self.module, f"decode{self.suffix}")(content, start, self.version)

    def encode(self, message: object) -> bytes:
        encoded = getattr(self.module, f"encode{self.suffix}")(message, self.version)
        assert isinstance(encoded, bytes)
        return encoded

    @property
    def is_flexible(self) -> bool:
        low, high = self.message.flexible
        return low <= self.version <= high

    def default(self) -> Any:
        return getattr(self.module, self.message.name)()


def definitions() -> Iterator[Definition]:
    folder = ROOT / "codegen" / "definitions"
    for path in sorted([*folder.glob("*.txt"), *(folder / "internal").glob("*.txt")]):
        if path.stem not in HEADERS:
            yield parse(path)


def kinds() -> list[Kind]:
    return [
        Kind(definition, message, version)
        for definition in definitions()
        for message in definition.messages
        for version in range(message.versions[0], message.versions[1] + 1)
    ]


KINDS = kinds()


def for_each(kinds: list[Kind]) -> Callable[[Callable[[Kind], None]], Callable[[list[Kind]], None]]:
    """A check of one kind as a test of each definition: of its messages in all their versions.

    A test for each version costs more than what it checks. The traceback of a failure shows the kind.
    """
    defined: dict[str, list[Kind]] = {}
    for kind in kinds:
        defined.setdefault(kind.definition.path.stem, []).append(kind)

    def make(check: Callable[[Kind], None]) -> Callable[[list[Kind]], None]:
        @pytest.mark.parametrize("messages", defined.values(), ids=defined)
        def test(messages: list[Kind]) -> None:
            for kind in messages:
                check(kind)

        return test

    return make


class Sampler:
    """Fills messages; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def message(self, kind: Kind) -> Any:
        return self.struct(kind, kind.message.name)

    def struct(self, kind: Kind, name: str) -> Any:
        shape = kind.shapes.by_type[kind.message.name, name]
        values = {
            attribute(each): self.value(kind, each)
            for each in kind.shapes.fields(kind.message, shape)
            if within(each.versions, kind.version) and within(shape.versions, kind.version)
        }
        return getattr(kind.module, shape.name)(**values)

    def value(self, kind: Kind, each: Field) -> Any:
        optional = kind.shapes.is_optional(kind.message, each)
        nullable = valid(overlap(each.null, kind.message.versions)) and within(each.null, kind.version)
        if (nullable or optional) and self.random.random() < 0.3:
            return None
        if each.is_array:
            return [self.item(kind, each) for _ in range(self.random.choice((0, 1, 2, 3)))]
        made = self.item(kind, each)
        if optional and made == type(made)():
            return None  # Kafka does not send a tagged struct that has its defaults
        return made

    def item(self, kind: Kind, each: Field) -> Any:
        if kind.shapes.shape(kind.message, each) is not None:
            return self.struct(kind, each.item)
        draw = self.random
        if each.item in INT_BITS:
            return self.integer(each)
        if each.item == "bool":
            return draw.random() < 0.5
        if each.item == "float64":
            return draw.choice((0.0, -1.5, 1e300, 0.25))
        if each.item == "string":
            return draw.choice(TEXTS)
        if each.item == "uuid":
            return draw.randbytes(16)
        content = draw.randbytes(draw.choice((0, 1, 17, 200)))
        return Records(content) if each.item == "records" else content

    def integer(self, each: Field) -> int:
        """Any value, but for fields that other codecs map to richer types: error codes and times."""
        if each.name.endswith("error_code"):
            return self.random.choice((-1, 0, 3, 6, ERROR_CODE_MAX))
        if each.item == "int64" and ("time" in each.name or each.name.endswith("_ms")):
            return self.random.randrange(TIMESTAMP_MAX)
        bits = INT_BITS[each.item]
        low = 0 if each.item.startswith("u") else -(1 << bits - 1)
        high = low + (1 << bits) - 1
        return self.random.choice((low, high, 0, 1, self.random.randint(low, high)))


def within(versions: Versions, version: int) -> bool:
    return versions[0] <= version <= versions[1]


def leaves(value: Any, kind: Kind, name: str) -> Iterator[Any]:
    """The plain values of a message in the order of its definition, those of the kind's version only."""
    shape = kind.shapes.by_type[kind.message.name, name]
    for each in kind.shapes.fields(kind.message, shape):
        if not within(each.versions, kind.version):
            continue
        field = getattr(value, attribute(each))
        inner = kind.shapes.shape(kind.message, each)
        if field is None and kind.shapes.is_optional(kind.message, each) and inner is not None:
            field = getattr(kind.module, inner.name)()
        for item in field if each.is_array and field is not None else [field]:
            if inner is None or item is None:
                yield item
            else:
                yield from leaves(item, kind, each.item)
        if each.is_array and field is not None:
            yield len(field)


__all__ = ["KINDS", "ROOT", "Field", "Kind", "Sampler", "attribute", "for_each", "leaves", "within"]
