"""The text of one generated module: classes, decoders, encoders."""

import json
import keyword
import re
from dataclasses import dataclass

from notation import Definition, Field, Message, Versions, overlap, snake, without

INTS = {"int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8}
READERS = {
    "int8": "read_i8",
    "int16": "read_i16_be",
    "uint16": "read_u16",
    "int32": "read_i32_be",
    "uint32": "read_u32",
    "int64": "read_i64_be",
    "float64": "read_f64_be",
}
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


class Module:
    """Collects the shapes of one definition and writes them."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.lines: list[str] = []
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
                return
            own = f"Response{name}" if name in taken and message.kind == "response" else name
            shape = Shape(own, fields, versions, overlap(message.flexible, message.versions))
            self.by_type[message.name, name] = shape
            for each in fields:
                if each.fields or each.item in shared:
                    inner = each.fields or shared[each.item].fields
                    add(each.item, inner, overlap(versions, each.versions))
            self.shapes.append(shape)
            shape.planned = any(
                each.type == "records"
                or (
                    (message.name, each.item) in self.by_type
                    and self.by_type[message.name, each.item].planned
                )
                for each in fields
            )

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

    # -- text

    def text(self) -> str:
        for message in self.definition.messages:
            for shape in self.shapes_of(message):
                self.class_text(message, shape)
        for message in self.definition.messages:
            for shape in self.shapes_of(message):
                self.decoder_text(message, shape)
                self.encoder_text(message, shape)
            self.entry_text(message)
        return self.head() + "\n".join(self.lines) + "\n"

    def head(self) -> str:
        definition = self.definition
        source = f"codegen/definitions/{'' if definition.key >= 0 else 'internal/'}{definition.path.name}"
        first = definition.messages[0]
        low, high = first.versions
        title = f"{definition.name} ({definition.key})" if definition.key >= 0 else first.name
        flexible = first.flexible[0] if valid(first.flexible) else 1 << 15
        key = definition.key if definition.key >= 0 else first.key
        constants = (
            f"\nAPI_KEY: Final = {key}"
            if definition.key >= 0
            else f"\nKEY: Final = {key}"
            if key >= 0
            else ""
        )
        return f'''"""{title}, v{low}-{high}.

Generated by codegen/generate.py from {source}; never edited.
"""

from typing import Final

from librt.strings import *
from barnabas.ids import ZERO_UUID
from barnabas.ports import Piece
from barnabas.wire.primitives import *
{constants}
VERSION_MIN: Final = {low}
VERSION_MAX: Final = {high}
FLEXIBLE_FROM: Final = {flexible}


'''

    def put(self, depth: int, line: str) -> None:
        self.lines.append("    " * depth + line)

    # -- classes

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

    def class_text(self, message: Message, shape: Shape) -> None:
        fields = self.fields(message, shape)
        names = [attribute(each) for each in fields]
        self.put(0, f"class {shape.name}(Message):")
        self.put(1, f"__slots__ = ({''.join(f'{json.dumps(name)}, ' for name in names)})")
        if not fields:
            self.put(0, "")
            return
        self.put(0, "")
        self.put(1, "def __init__(")
        self.put(2, "self,")
        for each in fields:
            kind, default = self.python_type(message, each), self.default(message, each)
            if default == "EMPTY":
                nullable_list = each.is_array and self.nullable(message, each)
                if nullable_list:
                    default = "NO_ITEMS"
                else:
                    kind, default = kind if kind.endswith("| None") else f"{kind} | None", "None"
            self.put(2, f"{attribute(each)}: {kind} = {default},")
        self.put(1, ") -> None:")
        for each in fields:
            name, shaped = attribute(each), self.shape(message, each)
            if self.default(message, each) != "EMPTY":
                self.put(2, f"self.{name} = {name}")
            elif each.is_array:
                empty = "NO_ITEMS" if self.nullable(message, each) else "None"
                self.put(2, f"self.{name} = [] if {name} is {empty} else {name}")
            else:
                assert shaped
                self.put(2, f"self.{name} = {shaped.name}() if {name} is None else {name}")
        self.put(0, "")
        self.put(0, "")

    # -- decode

    def decoder_text(self, message: Message, shape: Shape) -> None:
        fields = self.fields(message, shape)
        self.put(
            0,
            f"def _decode_{snake(shape.name)}(content: bytes, at: int, version: int) -> tuple[{shape.name}, int]:",
        )
        for each in fields:
            kind = self.python_type(message, each)
            if kind.startswith("list") or kind.endswith("None") or each.type == "uuid":
                self.put(1, f"{local(each)}: {kind}")
        for each in fields:
            plain = without(overlap(each.versions, shape.versions), each.tagged)
            if not valid(plain):
                self.put(1, f"{local(each)} = {self.local_default(message, each)}")
                continue
            condition = guard(plain, shape.versions)
            if condition:
                self.put(1, f"if {condition}:")
                self.read(message, shape, each, 2)
                self.put(1, "else:")
                self.put(2, f"{local(each)} = {self.local_default(message, each)}")
            else:
                self.read(message, shape, each, 1)
        flexible = overlap(shape.flexible, shape.versions)
        if valid(flexible):
            condition = guard(flexible, shape.versions)
            depth = 1
            if condition:
                self.put(1, f"if {condition}:")
                depth = 2
            self.read_tags(message, shape, depth)
        self.put(1, f"return {shape.name}({', '.join(local(each) for each in fields)}), at")
        self.put(0, "")
        self.put(0, "")

    def local_default(self, message: Message, each: Field) -> str:
        default = self.default(message, each)
        if default != "EMPTY":
            return default
        shaped = self.shape(message, each)
        return "[]" if each.is_array else f"{shaped.name}()" if shaped else "[]"

    def flexible_choice(self, shape: Shape, each: Field, compact: str, classic: str) -> str:
        flexible = shape.flexible if each.flexible is None else each.flexible
        where = overlap(overlap(flexible, shape.versions), overlap(each.versions, shape.versions))
        if not valid(where):
            return classic
        condition = guard(where, overlap(each.versions, shape.versions))
        return f"({compact} if {condition} else {classic})" if condition else compact

    def put_choice(self, depth: int, shape: Shape, each: Field, compact: str, classic: str) -> None:
        """One of two statements, by version."""
        flexible = shape.flexible if each.flexible is None else each.flexible
        within = overlap(each.versions, shape.versions)
        where = overlap(flexible, within)
        condition = guard(where, within) if valid(where) else "never"
        if condition in ("", "never"):
            self.put(depth, classic if condition else compact)
            return
        self.put(depth, f"if {condition}:")
        self.put(depth + 1, compact)
        self.put(depth, "else:")
        self.put(depth + 1, classic)

    def null_choice(self, message: Message, shape: Shape, each: Field, nullable: str, plain: str) -> str:
        """nullable only in some versions: the others refuse null."""
        if not self.nullable(message, each):
            return plain
        within = overlap(each.versions, shape.versions)
        condition = guard(overlap(each.null, within), within)
        return f"({nullable} if {condition} else {plain})" if condition else nullable

    def read(self, message: Message, shape: Shape, each: Field, depth: int) -> None:
        name = local(each)
        if each.is_array:
            self.read_array(message, shape, each, depth)
        elif (inner := self.shape(message, each)) is not None:
            call = f"_decode_{snake(inner.name)}(content, at, version)"
            if self.nullable(message, each):
                self.put(depth, "at += 1")
                self.put(depth, "if read_i8(content, at - 1) < 0:")
                self.put(depth + 1, f"{name} = None")
                self.put(depth, "else:")
                self.put(depth + 1, f"{name}, at = {call}")
            else:
                self.put(depth, f"{name}, at = {call}")
        elif each.type in READERS:
            self.put(depth, f"{name} = {READERS[each.type]}(content, at)")
            self.put(depth, f"at += {SIZES[each.type]}")
        elif each.type == "bool":
            self.put(depth, f"{name} = content[at] != 0")
            self.put(depth, "at += 1")
        elif each.type == "uuid":
            self.put(depth, f"{name}, at = read_uuid(content, at)")
        elif each.type == "records":
            call = self.flexible_choice(
                shape, each, "read_compact_records(content, at)", "read_records(content, at)"
            )
            self.put(depth, f"{name}, at = {call}")
        else:
            self.put(depth, f"{name}, at = {self.text_reader(message, shape, each)}")

    def text_reader(self, message: Message, shape: Shape, each: Field) -> str:
        kind = each.type
        return self.null_choice(
            message,
            shape,
            each,
            self.flexible_choice(
                shape,
                each,
                f"read_compact_nullable_{kind}(content, at)",
                f"read_nullable_{kind}(content, at)",
            ),
            self.flexible_choice(
                shape, each, f"read_compact_{kind}(content, at)", f"read_{kind}(content, at)"
            ),
        )

    def item_bytes_min(self, message: Message, each: Field) -> int:
        inner = self.shape(message, each)
        if inner is None:
            return SIZES.get(each.item, 1)
        always = 0
        for field in inner.fields:
            plain = without(overlap(field.versions, inner.versions), field.tagged)
            if valid(plain) and not guard(plain, inner.versions):
                is_plain = not field.is_array and self.shape(message, field) is None
                always += SIZES.get(field.type, 1) if is_plain else 1
        return max(always, 1)

    def read_array(self, message: Message, shape: Shape, each: Field, depth: int) -> None:
        name, least = local(each), self.item_bytes_min(message, each)
        count = self.null_choice(
            message,
            shape,
            each,
            self.flexible_choice(
                shape,
                each,
                f"read_compact_nullable_count(content, at, {least})",
                f"read_nullable_count(content, at, {least})",
            ),
            self.flexible_choice(
                shape, each, f"read_compact_count(content, at, {least})", f"read_count(content, at, {least})"
            ),
        )
        self.put(depth, f"count, at = {count}")
        if self.nullable(message, each):
            self.put(depth, "if count < 0:")
            self.put(depth + 1, f"{name} = None")
            self.put(depth, "else:")
            depth += 1
        self.put(depth, f"{name} = []")
        self.put(depth, "for _ in range(count):")
        inner = self.shape(message, each)
        if inner is not None:
            self.put(depth + 1, f"{local(each)}_item, at = _decode_{snake(inner.name)}(content, at, version)")
            self.put(depth + 1, f"{name}.append({local(each)}_item)")
        elif each.item in READERS:
            self.put(depth + 1, f"{name}.append({READERS[each.item]}(content, at))")
            self.put(depth + 1, f"at += {SIZES[each.item]}")
        else:
            call = (
                "read_uuid(content, at)"
                if each.item == "uuid"
                else self.flexible_choice(
                    shape, each, f"read_compact_{each.item}(content, at)", f"read_{each.item}(content, at)"
                )
            )
            self.put(depth + 1, f"{local(each)}_item, at = {call}")
            self.put(depth + 1, f"{name}.append({local(each)}_item)")

    def read_tags(self, message: Message, shape: Shape, depth: int) -> None:
        tagged = [
            each
            for each in self.fields(message, shape)
            if each.tag >= 0 and valid(overlap(each.tagged, shape.versions))
        ]
        self.put(depth, "if content[at] == 0:")
        self.put(depth + 1, "at += 1")
        self.put(depth, "else:")
        if not tagged:
            self.put(depth + 1, "at = skip_tags(content, at)")
            return
        self.put(depth + 1, "tags, at = read_uvarint(content, at)")
        self.put(depth + 1, "for _ in range(tags):")
        self.put(depth + 2, "tag, at = read_uvarint(content, at)")
        self.put(depth + 2, "size, at = read_uvarint(content, at)")
        self.put(depth + 2, "end = tag_end(content, at, size)")
        flexible = overlap(shape.flexible, shape.versions)
        for number, each in enumerate(tagged):
            condition = guard(overlap(each.tagged, shape.versions), flexible)
            test = f"tag == {each.tag}" + (f" and {condition}" if condition else "")
            self.put(depth + 2, f"{'elif' if number else 'if'} {test}:")
            self.read(message, shape, each, depth + 3)
            self.put(depth + 3, "if at != end:")
            self.put(depth + 4, f'raise Malformed(f"tag {each.tag} has {{size}} bytes")')
        self.put(depth + 2, "at = end")

    # -- encode

    def encoder_text(self, message: Message, shape: Shape) -> None:
        parts = ", parts: list[Piece] | None" if shape.planned else ""
        self.put(
            0,
            f"def _encode_{snake(shape.name)}(out: BytesWriter, it: {shape.name}, version: int{parts}) -> None:",
        )
        mark = len(self.lines)
        for each in self.fields(message, shape):
            within = overlap(each.versions, shape.versions)
            plain = without(within, each.tagged)
            if valid(plain):
                condition = guard(plain, shape.versions)
                if condition:
                    self.put(1, f"if {condition}:")
                    self.write(message, shape, each, 2)
                else:
                    self.write(message, shape, each, 1)
            absent = guard(within, shape.versions)
            if absent and not each.ignorable:
                self.put(1, f"if not ({absent}) and {self.differs(message, each)}:")
                self.put(2, f'raise ValueError(f"{each.name} does not exist in version {{version}}")')
        flexible = overlap(shape.flexible, shape.versions)
        if valid(flexible):
            condition = guard(flexible, shape.versions)
            depth = 1
            if condition:
                self.put(1, f"if {condition}:")
                depth = 2
            self.write_tags(message, shape, depth)
        if len(self.lines) == mark:
            self.put(1, "return")
        self.put(0, "")
        self.put(0, "")

    def differs(self, message: Message, each: Field) -> str:
        name, default = f"it.{attribute(each)}", self.default(message, each)
        if default == "EMPTY":
            if each.is_array:
                return f"{name} is None or {name}" if self.nullable(message, each) else name
            shaped = self.shape(message, each)
            assert shaped
            return f"{name} != {shaped.name}()"
        if default == "None":
            return f"{name} is not None"
        if default in ("False", "True"):
            return name if default == "False" else f"not {name}"
        return f"{name} != {default}"

    def write(self, message: Message, shape: Shape, each: Field, depth: int, out: str = "out") -> None:
        name = f"it.{attribute(each)}"
        if self.nullable(message, each) or each.type == "records":
            within = overlap(each.versions, shape.versions)
            may = overlap(each.null, within)
            condition = guard(may, within) if valid(may) else "False"
            if condition:
                test = f"{name} is None" if condition == "False" else f"{name} is None and not ({condition})"
                self.put(depth, f"if {test}:")
                self.put(
                    depth + 1,
                    f'raise ValueError(f"{each.name} may not be null in version {{version}}")',
                )
        if each.is_array:
            self.write_array(message, shape, each, depth, out)
        elif (inner := self.shape(message, each)) is not None:
            parts = ", parts" if inner.planned else ""
            if self.nullable(message, each):
                self.put(depth, f"if {name} is None:")
                self.put(depth + 1, f"write_i8({out}, -1)")
                self.put(depth, "else:")
                depth += 1
                self.put(depth, f"write_i8({out}, 1)")
            self.put(depth, f"_encode_{snake(inner.name)}({out}, {name}, version{parts})")
        elif each.type == "records":
            compact = self.flexible_choice(shape, each, "True", "False").strip("()")
            compact = compact.removeprefix("True if ").removesuffix(" else False")
            self.put(depth, f"write_records({out}, {name}, parts, {compact})")
        else:
            self.write_scalar(depth, shape, each, name, out)

    def write_scalar(self, depth: int, shape: Shape, each: Field, name: str, out: str) -> None:
        kind = each.item
        if kind in READERS:
            self.put(depth, f"{READERS[kind].replace('read', 'write')}({out}, {name})")
        elif kind == "bool":
            self.put(depth, f"{out}.append(1 if {name} else 0)")
        elif kind == "uuid":
            self.put(depth, f"write_uuid({out}, {name})")
        else:
            self.put_choice(
                depth, shape, each, f"write_compact_{kind}({out}, {name})", f"write_{kind}({out}, {name})"
            )

    def write_array(self, message: Message, shape: Shape, each: Field, depth: int, out: str) -> None:
        name = f"it.{attribute(each)}"
        if self.nullable(message, each):
            self.put(depth, f"if {name} is None:")
            self.put_choice(
                depth + 1, shape, each, f"write_compact_count({out}, -1)", f"write_count({out}, -1)"
            )
            self.put(depth, "else:")
            depth += 1
        self.put_choice(
            depth, shape, each, f"write_compact_count({out}, len({name}))", f"write_count({out}, len({name}))"
        )
        item = f"{attribute(each)}_item"
        self.put(depth, f"for {item} in {name}:")
        inner = self.shape(message, each)
        if inner is not None:
            parts = ", parts" if inner.planned else ""
            self.put(depth + 1, f"_encode_{snake(inner.name)}({out}, {item}, version{parts})")
        else:
            self.write_scalar(depth + 1, shape, each, item, out)

    def write_tags(self, message: Message, shape: Shape, depth: int) -> None:
        tagged = sorted(
            (
                each
                for each in self.fields(message, shape)
                if each.tag >= 0 and valid(overlap(each.tagged, shape.versions))
            ),
            key=lambda each: each.tag,
        )
        if not tagged:
            self.put(depth, "out.append(0)")
            return
        flexible = overlap(shape.flexible, shape.versions)
        self.put(depth, "tags = 0")
        for pass_ in ("count", "write"):
            if pass_ == "write":
                self.put(depth, "write_uvarint(out, tags)")
            for each in tagged:
                condition = guard(overlap(each.tagged, shape.versions), flexible)
                test = (f"{condition} and " if condition else "") + f"({self.differs(message, each)})"
                self.put(depth, f"if {test}:")
                if pass_ == "count":
                    self.put(depth + 1, "tags += 1")
                else:
                    self.put(depth + 1, "tag_out = BytesWriter()")
                    self.write(message, shape, each, depth + 1, "tag_out")
                    self.put(depth + 1, f"write_tag(out, {each.tag}, tag_out.getvalue())")

    # -- entry points

    def entry_text(self, message: Message) -> None:
        shape = self.by_type[message.name, message.name]
        suffix = f"_{message.kind}" if message.kind in ("request", "response") else ""
        name = snake(shape.name)
        self.put(0, f"def decode{suffix}(content: bytes, start: int, version: int) -> {shape.name}:")
        self.put(
            1, f'"""Raises Malformed when content from start on is no {message.name} of that version."""'
        )
        self.put(1, "try:")
        self.put(2, f"return _decode_{name}(content, start, version)[0]")
        self.put(1, "except IndexError:")
        self.put(2, f'raise Malformed("{message.name} is cut short") from None')
        self.put(0, "")
        self.put(0, "")
        parts = ", None" if shape.planned else ""
        self.put(0, f"def encode{suffix}(message: {shape.name}, version: int) -> bytes:")
        self.put(1, '"""Raises ValueError for a value that the version cannot carry."""')
        self.put(1, "out = BytesWriter()")
        self.put(1, f"_encode_{name}(out, message, version{parts})")
        self.put(1, "return out.getvalue()")
        self.put(0, "")
        self.put(0, "")
        if shape.planned and message.kind == "response":
            self.put(0, f"def plan_response(message: {shape.name}, version: int) -> list[Piece]:")
            self.put(1, '"""The response as pieces: planned records stay ranges of their files."""')
            self.put(1, "out = BytesWriter()")
            self.put(1, "parts: list[Piece] = []")
            self.put(1, f"_encode_{name}(out, message, version, parts)")
            self.put(1, "parts.append(out.getvalue())")
            self.put(1, "return parts")
            self.put(0, "")
            self.put(0, "")


def attribute(each: Field) -> str:
    return f"{each.name}_" if keyword.iskeyword(each.name) else each.name


def local(each: Field) -> str:
    name = attribute(each)
    return f"{name}_" if name in ("content", "at", "version", "count", "tags", "tag", "size", "end") else name


def module_text(definition: Definition) -> str:
    return with_imports(Module(definition).text())


def with_imports(text: str) -> str:
    """Names what is used, instead of the stars that head() writes."""
    used = set(re.findall(r"\b[A-Za-z_][A-Za-z_0-9]*\b", text))
    librt = sorted(name for name in used if re.fullmatch(r"(read|write)_[if](16|32|64)_be|BytesWriter", name))
    primitives = sorted(
        name
        for name in used
        if re.fullmatch(
            r"(read|write)_((compact_)?(nullable_)?(string|bytes|records|count)|uvarint|uuid|i8|u16|u32)",
            name,
        )
        or name in ("skip_tags", "tag_end", "write_tag", "Malformed", "Message", "NO_ITEMS", "Records")
    )
    text = text.replace("from librt.strings import *", f"from librt.strings import {', '.join(librt)}")
    text = text.replace(
        "from barnabas.wire.primitives import *",
        f"from barnabas.wire.primitives import {', '.join(primitives)}",
    )
    if "ZERO_UUID" not in text.replace("import ZERO_UUID", ""):
        text = text.replace("from barnabas.ids import ZERO_UUID\n", "")
    if not re.search(r"list\[Piece\]", text):
        text = text.replace("from barnabas.ports import Piece\n", "")
    return text
