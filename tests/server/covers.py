"""Which fields and error codes of an API a test covers: said by the test, checked against what it sent and got.

    @covers("Produce", "acks", "responses.partition_responses.base_offset", "INVALID_REQUIRED_ACKS")

A field is named by its path (codegen/definitions), with `request.` or `response.` before it where both have it; a code by
its name in barnabas.errors. What nobody knows is a LookupError at import. While the test itself ran (not its fixtures)

    FIELD            was sent or received in a version that carries it, with another value than its default;
    FIELD=default    was carried by a version of the traffic with its default (for a response: with nothing else);
    FIELD=null       was null, in a version in which it may be;
    CODE             stood in a response of that API.

It is a mark: several may be stacked, and `pytest.param(…, marks=covers(…))` claims for one case. Text transcripts claim by
lines that begin with `covers `. docs/apis/ has all claims in tables.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import pytest
from fields import FieldPath, definitions, resolve

from barnabas import errors
from barnabas.server import handlers
from barnabas.wire import apis
from barnabas.wire.primitives import Message, Records, field_names

CODE_FIELDS: Final = frozenset({"error_code"})
CODES: Final = {name: code for code, name in errors.NAMES.items() if name != "NONE"}


class Claim(NamedTuple):
    """One field or one code of one API."""

    api: str
    field: FieldPath | None
    value: str
    """What the field was: "default", "null", or "" for anything but its default."""
    code: str


def claims_of(api: str, names: Iterable[str]) -> tuple[Claim, ...]:
    if api not in definitions():
        raise LookupError(f"there is no API {api}")
    return tuple(claim_of(api, name) for name in names)


def claim_of(api: str, name: str) -> Claim:
    if name.isupper():
        if name not in CODES:
            raise LookupError(f"{name} is no error code")
        return Claim(api, None, "", name)
    path, _, value = name.partition("=")
    if value not in ("", "default", "null"):
        raise LookupError(f"{name}: only =default and =null may be said of a field")
    field = resolve(api, path)
    if value == "null" and not field.is_nullable:
        raise LookupError(f"{api} has no version in which {path} may be null")
    return Claim(api, field, value, "")


def covers(api: str, *names: str) -> pytest.MarkDecorator:
    return pytest.mark.covers(*claims_of(api, names))


class Traffic:
    """Requests and responses of one test, by API and side."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], list[tuple[int, Any]]] = {}

    def clear(self) -> None:
        self._seen.clear()

    def sent(self, key: int, version: int, ask: object) -> None:
        self._seen.setdefault((apis.BY_KEY[key].name, "request"), []).append((version, ask))

    def received(self, key: int, version: int, response: object) -> None:
        """Refuses codes that the API does not list: the list is what a user may have to deal with."""
        name = apis.BY_KEY[key].name
        allowed = handlers.load(key).codes if key in handlers.SERVED else None
        if allowed is not None:
            for code in codes_in(response):
                assert code in allowed, (
                    f"{name} v{version} answered {errors.name_of(code)}, which it does not list"
                )
        self._seen.setdefault((name, "response"), []).append((version, response))

    def unmet(self, claims: Iterable[Claim]) -> list[str]:
        """What was claimed and did not happen, in words."""
        return [text for claim in claims if (text := self._fault(claim))]

    def _fault(self, claim: Claim) -> str:
        if claim.field is None:
            got = self._seen.get((claim.api, "response"), [])
            answered = any(CODES[claim.code] in codes_in(response) for _, response in got)
            return "" if answered else f"{claim.api}: {claim.code} was not answered"
        field = claim.field
        low, high = field.null if claim.value == "null" else field.versions
        carried = [
            message
            for version, message in self._seen.get((claim.api, field.side), [])
            if low <= version <= high
        ]
        if not carried:
            return f"{claim.api}: no {field.side} in a version that has {field.name}"
        seen = [value for each in carried for value in values(each, field.attributes)]
        if claim.value == "null":
            return "" if None in seen else f"{claim.api}: {field.name} is never null"
        is_default = [is_unset(value, field.default) for value in seen]
        if not claim.value:
            return "" if False in is_default else f"{claim.api}: {field.name} never differs from its default"
        if field.side == "request" and seen and True not in is_default:
            return f"{claim.api}: {field.name} is never its default"
        if field.side == "response" and False in is_default:
            return f"{claim.api}: {field.name} differs from its default"
        return ""


TRAFFIC: Final = Traffic()


def values(message: Any, attributes: tuple[str, ...]) -> Iterator[Any]:
    """What stands at a path: once for each element of the arrays on the way."""
    if not attributes:
        yield message
    elif message is not None:
        value = getattr(message, attributes[0])
        for each in value if isinstance(value, list) and len(attributes) > 1 else (value,):
            yield from values(each, attributes[1:])


def is_unset(value: object, default: object) -> bool:
    if isinstance(value, Records):
        return value.size == 0
    return value == default


def codes_in(message: Any) -> set[int]:
    """Every error code of a response, however deep."""
    found: set[int] = set()
    for name in field_names(type(message)):
        value = getattr(message, name)
        if name in CODE_FIELDS:
            found.add(value)
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, Message):
                found |= codes_in(each)
    return found - {errors.NONE}
