"""What a definition comes to in Python: its classes, and the type, default and name of each field."""

import json
import keyword
from dataclasses import dataclass

from notation import Definition, Field, Message, Versions, overlap

INTS = {"int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8}
SIZES = {**INTS, "float64": 8, "bool": 1, "uuid": 16}
PYTHON = {
    "bool": "bool",
    "float64": "float",
    "string": "str",
    "bytes": "bytes",
    "uuid": "bytes",
    "records": "Records",
}
ZERO = {"bool": "False", "float64": "0.0", "string": '""', "bytes": 'b""', "uuid": "ZERO_UUID"}


@dataclass
class Shape:
    """One class of the module."""

    name: str
    fields: list[Field]
    versions: Versions
    flexible: Versions
    planned: bool = False


def valid(versions: Versions) -> bool:
    return versions[0] <= versions[1]


def guard(versions: Versions, within: Versions) -> str:
    """The condition under which version lies in versions, "" when it always does."""
    low, high = versions
    if low <= within[0] and high >= within[1]:
        return ""
    if low <= within[0]:
        return f"version <= {high}"
    if high >= within[1]:
        return f"version >= {low}"
    return f"version == {low}" if low == high else f"{low} <= version <= {high}"


class Shapes:
    """The classes of one definition, inner ones before those that hold them."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.shapes: list[Shape] = []
        self.by_type: dict[tuple[str, str], Shape] = {}
        for message in definition.messages:
            self.collect(message)

    # -- shapes

    def collect(self, message: Message) -> None:
        shared = {struct.name: struct for struct in message.structs}
        taken = {shape.name for shape in self.shapes}

        def add(name: str, fields: list[Field], versions: Versions) -> None:
            if (message.name, name) in self.by_type:
                known = self.by_type[message.name, name]
                known.versions = min(known.versions[0], versions[0]), max(known.versions[1], versions[1])
                add_inner(fields, known.versions)
                return
            own = f"Response{name}" if name in taken and message.kind == "response" else name
            shape = Shape(own, fields, versions, overlap(message.flexible, message.versions))
            self.by_type[message.name, name] = shape
            add_inner(fields, versions)
            self.shapes.append(shape)
            shape.planned = any(
                each.type == "records"
                or (
                    (message.name, each.item) in self.by_type
                    and self.by_type[message.name, each.item].planned
                )
                for each in fields
            )

        def add_inner(fields: list[Field], versions: Versions) -> None:
            """A struct that two fields share is in every version that either is in, and so are its own structs."""
            for each in fields:
                if each.fields or each.item in shared:
                    inner = each.fields or shared[each.item].fields
                    add(each.item, inner, overlap(versions, each.versions))

        add(message.name, message.fields, message.versions)

    def shape(self, message: Message, each: Field) -> Shape | None:
        return self.by_type.get((message.name, each.item))

    def shapes_of(self, message: Message) -> list[Shape]:
        """Inner structs before those that hold them."""
        own = [shape for (owner, _), shape in self.by_type.items() if owner == message.name]
        return [shape for shape in self.shapes if any(shape is each for each in own)]

    def is_optional(self, message: Message, each: Field) -> bool:
        """A tagged struct that is not nullable: None stands for "not sent", which means its defaults."""
        return each.tag >= 0 and not each.is_array and self.shape(message, each) is not None

    # -- fields

    def python_type(self, message: Message, each: Field) -> str:
        shape = self.shape(message, each)
        item = shape.name if shape else PYTHON.get(each.item, "int")
        kind = f"list[{item}]" if each.is_array else item
        optional = self.nullable(message, each) or each.type == "records" or self.is_optional(message, each)
        return f"{kind} | None" if optional else kind

    def nullable(self, message: Message, each: Field) -> bool:
        return valid(overlap(each.null, message.versions))

    def default(self, message: Message, each: Field) -> str:
        if each.default == "null" or self.is_optional(message, each):
            return "None"
        if each.is_array or self.shape(message, each):
            return "EMPTY"
        if each.type == "records":
            return "None"
        if each.default is None or each.default == '""':
            return ZERO.get(each.type, "0")
        if each.type == "string":
            return json.dumps(each.default)
        if each.type == "bool":
            return each.default.capitalize()
        if each.type == "float64":
            return str(float(each.default))
        return str(int(each.default, 0))

    def fields(self, message: Message, shape: Shape) -> list[Field]:
        return [each for each in shape.fields if valid(overlap(each.versions, shape.versions))]


def attribute(each: Field) -> str:
    return f"{each.name}_" if keyword.iskeyword(each.name) else each.name


def local(each: Field) -> str:
    name = attribute(each)
    return f"{name}_" if name in ("content", "at", "version", "count", "tags", "tag", "size", "end") else name
