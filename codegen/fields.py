"""The fields of an API by path, as its table of tests names them: `request.topics.partitions.fetch_offset`."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from notation import Definition, Field, Message, Versions, overlap, parse
from shapes import Shapes, attribute, valid

DEFINITIONS = Path(__file__).parent / "definitions"
NAMED = {"ZERO_UUID": bytes(16), "EMPTY": []}


@dataclass(frozen=True)
class FieldPath:
    """One field: where it is in the message's object, in which versions, and what it is when nobody sets it."""

    name: str
    attributes: tuple[str, ...]
    type: str
    versions: Versions
    null: Versions
    default: object
    is_leaf: bool

    @property
    def side(self) -> str:
        return self.name.partition(".")[0]

    @property
    def is_nullable(self) -> bool:
        return valid(self.null)


@cache
def definitions() -> dict[str, Definition]:
    found = (parse(path) for path in sorted(DEFINITIONS.glob("*.txt")))
    return {each.name: each for each in found if each.key >= 0}


@cache
def fields_of(api: str) -> dict[str, FieldPath]:
    """Every field of the request and of the response, in their order."""
    definition = definitions()[api]
    shapes = Shapes(definition)
    found: list[FieldPath] = []
    for message in definition.messages:
        walk(found, shapes, message, message.fields, message.kind, (), message.versions)
    return {each.name: each for each in found}


def walk(
    found: list[FieldPath],
    shapes: Shapes,
    message: Message,
    fields: list[Field],
    above: str,
    attributes: tuple[str, ...],
    versions: Versions,
) -> None:
    shared = {struct.name: struct.fields for struct in message.structs}
    for each in fields:
        carried = overlap(each.versions, versions)
        if not valid(carried):
            continue
        inner = each.fields or shared.get(each.item, [])
        own = (*attributes, attribute(each))
        text = shapes.default(message, each)
        default = NAMED[text] if text in NAMED else ast.literal_eval(text)
        found.append(
            FieldPath(
                f"{above}.{each.name}",
                own,
                each.type if not inner else "[]" if each.is_array else "struct",
                carried,
                overlap(each.null, carried),
                default,
                not inner,
            )
        )
        walk(found, shapes, message, inner, f"{above}.{each.name}", own, carried)


def resolve(api: str, name: str) -> FieldPath:
    """The field that a test names; `request.` or `response.` may be left out where only one of them has it."""
    fields = fields_of(api)
    if name in fields:
        return fields[name]
    both = [fields[full] for full in (f"request.{name}", f"response.{name}") if full in fields]
    if len(both) == 1:
        return both[0]
    raise LookupError(
        f"{api} has {name} in its request and in its response: say which" if both else f"{api} has no {name}"
    )
