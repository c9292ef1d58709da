"""What tests claim to cover (tests/server/covers.py), gathered for the pages of docs/apis, and what is still missing.

Test modules are imported and their marks read; text transcripts say it in lines that begin with `covers `. That a claim is
true is the test's own concern: it fails when it is not.
"""

import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from fields import FieldPath, fields_of
from notation import overlap
from shapes import valid

from barnabas.errors import name_of
from barnabas.server import handlers
from barnabas.wire import apis

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"

Claims = dict[str, dict[str, list[str]]]
"""API → field (`request.acks`, `request.acks=default`, …) or code → tests as `tests/server/test_x.py::test_y`."""


@cache
def claims() -> Claims:
    for folder in (TESTS / "server", TESTS / "coordinators"):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    from covers import claims_of

    found: Claims = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        if path.name == "test_covers.py":
            continue  # its claims are about claims
        if "@covers(" in (text := path.read_text()) or "=covers(" in text:
            for test, claim in claims_in(imported(path)):
                note(found, claim, f"{path.relative_to(ROOT)}::{test}")
    for path in sorted((TESTS / "transcripts").rglob("*.txt")):
        for line in path.read_text().splitlines():
            if line.startswith("covers "):
                _, api, *names = line.split()
                for claim in claims_of(api, names):
                    note(found, claim, str(path.relative_to(ROOT)))
    return found


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"covering_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def claims_in(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Test and claim, of tests that are expected to pass."""
    for name, test in vars(module).items():
        marks = list(getattr(test, "pytestmark", ())) if name.startswith("test_") else []
        if any(mark.name == "xfail" for mark in marks):
            continue
        cases = [case for mark in marks if mark.name == "parametrize" for case in mark.args[1]]
        marks += [mark for case in cases for mark in getattr(case, "marks", ())]
        for mark in marks:
            if mark.name == "covers":
                for claim in mark.args:
                    yield name, claim


def note(found: Claims, claim: Any, test: str) -> None:
    if claim.field is None:
        name = claim.code
    else:
        name = f"{claim.field.name}={claim.value}" if claim.value else claim.field.name
    tests = found.setdefault(claim.api, {}).setdefault(name, [])
    if test not in tests:
        tests.append(test)


def served_fields(api: str) -> list[FieldPath]:
    """The fields that some served version carries."""
    versions = next(handlers.versions(key) for key in handlers.SERVED if apis.BY_KEY[key].name == api)
    return [field for field in fields_of(api).values() if valid(overlap(field.versions, versions))]


def missing(api: str) -> list[str]:
    """Claims without which the API's table has a hole."""
    key = next(key for key in handlers.SERVED if apis.BY_KEY[key].name == api)
    found = claims().get(api, {})
    wanted = [name_of(code) for code in handlers.load(key).codes]
    for field in served_fields(api):
        if field.side == "request" and field.is_nullable and field.default is not None:
            wanted.append(f"{field.name}=null")
        if field.is_leaf and (field.side == "request" or f"{field.name}=default" not in found):
            wanted.append(field.name)
    return [name for name in wanted if name not in found]
