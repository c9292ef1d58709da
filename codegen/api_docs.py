"""Writes docs/apis.md and docs/apis/: what is served, and for each API its fields and error codes with their tests.

`--check` only says whether a page differs.
"""

import ast
import re
import sys
from pathlib import Path

from api_tests import claims, served_fields
from fields import FieldPath
from notation import Versions, overlap
from shapes import valid

from barnabas import errors
from barnabas.server import handlers
from barnabas.wire import apis

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
HANDLERS = ROOT / "src" / "barnabas" / "server" / "handlers"
HEAD = """# APIs

Written by `python codegen/api_docs.py` from the heads of `src/barnabas/server/handlers`; change those, not this page.
What is not here is not advertised. Versions are all those of Apache Kafka 4.3 where nothing else is said. The page of an
API names the test of each field and error code.

| Key | API | Versions | What it does |
|---|---|---|---|
"""
PAGE_HEAD = """# {name}

Written by `python codegen/api_docs.py` from `src/barnabas/server/handlers/{module}.py` and the marks `covers` of the tests.
A test named here fails when what it covers is not in its own requests and responses.

```text
{head}
```
"""
FIELDS = "| Field | Type | Versions | Tests |\n|---|---|---|---|\n"
CODES = "| Code | Name | Tests |\n|---|---|---|\n"


def summary(text: str) -> str:
    """The first paragraph of a handler's head, without what stands in other columns or is of use in the code only."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    _, _, told = paragraph.partition(". ")
    return re.sub(r" Rules: [\w/]+\.py[.;]?", "", told)


def span(low: int, high: int, to: str = " to ") -> str:
    return f"{low}" if low == high else f"{low}{to}{high}"


def head_of(key: int) -> str:
    """Read from the file: a compiled module has no docstring."""
    source = (HANDLERS / f"{handlers.SERVED[key]}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").strip()


def overview() -> str:
    rows = [
        f"| {key} | [{apis.BY_KEY[key].name}](apis/{handlers.SERVED[key]}.md) | {span(*handlers.versions(key))} "
        f"| {summary(head_of(key))} |\n"
        for key in sorted(handlers.SERVED)
    ]
    return HEAD + "".join(rows)


def page(key: int) -> str:
    name, module = apis.BY_KEY[key].name, handlers.SERVED[key]
    found = claims().get(name, {})
    text = PAGE_HEAD.format(name=name, module=module, head=head_of(key))
    fields = served_fields(name)
    for side in ("request", "response"):
        rows = [field_row(field, handlers.versions(key), found) for field in fields if field.side == side]
        text += f"\n## {side.capitalize()}\n\n" + (FIELDS + "".join(rows) if rows else "No fields.\n")
    codes = [
        f"| {code} | {errors.name_of(code)} | {links(found.get(errors.name_of(code), []))} |\n"
        for code in handlers.load(key).codes
    ]
    return text + "\n## Error codes\n\n" + (CODES + "".join(codes) if codes else "None.\n")


def field_row(field: FieldPath, served: Versions, found: dict[str, list[str]]) -> str:
    """A field that holds others has a test of its own where it may be null."""
    _, _, path = field.name.partition(".")
    *above, own = path.split(".")
    tests = [links(found[field.name])] if field.name in found else []
    for value, text in (("default", "Always its default"), ("null", "Null")):
        if named := found.get(f"{field.name}={value}"):
            if value == "default" and (tests or field.side == "request"):
                text = "Default"
            tests.append(f"{text}: {links(named)}")
    kind = f"{field.type}, nullable" if valid(overlap(field.null, served)) else field.type
    indent = "&nbsp;&nbsp;" * len(above)
    versions = span(*overlap(field.versions, served), "-")
    cell = "<br>".join(tests) or ("No test" if field.is_leaf else "")
    return f"| {indent}{own} | {kind} | {versions} | {cell} |\n"


def links(tests: list[str]) -> str:
    """Each test as a link to its file."""
    if not tests:
        return "No test"
    return ", ".join(f"[{name_of(test)}](../../{test.partition('::')[0]})" for test in tests)


def name_of(test: str) -> str:
    path, _, name = test.partition("::")
    return (name.removeprefix("test_") or Path(path).stem).replace("_", " ")


def pages() -> dict[Path, str]:
    found = {DOCS / "apis.md": overview()}
    return found | {DOCS / "apis" / f"{module}.md": page(key) for key, module in handlers.SERVED.items()}


def main() -> int:
    wanted = pages()
    there = {path: path.read_text() for path in [DOCS / "apis.md", *(DOCS / "apis").glob("*.md")]}
    differing = [path for path in sorted(wanted | there) if wanted.get(path) != there.get(path)]
    if "--check" in sys.argv:
        for path in differing:
            print(f"{path.relative_to(DOCS.parent)} differs: python codegen/api_docs.py")
        print(f"{len(differing)} pages of APIs differ")
        return int(bool(differing))
    (DOCS / "apis").mkdir(exist_ok=True)
    for path in differing:
        if path in wanted:
            path.write_text(wanted[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
