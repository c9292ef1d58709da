"""The shape of the project, held by tests: layers, sizes, one file per API, no machine's path."""

import ast
import functools
import gc
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from api_docs import head_of

from barnabas.server import handlers
from barnabas.wire import apis

ROOT = Path(__file__).parent.parent
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
GENERATED = ("src/barnabas/wire/messages/", "src/barnabas/wire/internal/")
GENERATED_NAME = re.compile(r"src/barnabas/config/\w+_facts\.py")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|farm)/")
REGISTRIES = re.compile(
    "|".join(("py" + "pi.org", "python" + "hosted", "repo1.maven", r"repo\.maven", "artifactory"))
)


@functools.cache
def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def hand_written() -> list[str]:
    """Python files that somebody wrote."""
    return [
        name
        for name in tracked()
        if name.endswith(".py") and not name.startswith(GENERATED) and not GENERATED_NAME.fullmatch(name)
    ]


@functools.cache
def tree_of(path: Path) -> ast.Module:
    gc.disable()  # all stays, and to look through it again and again took twice as long as to parse
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


@functools.cache
def text_of(name: str) -> str | None:
    try:
        return (ROOT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def test_arrows_point_downward():
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, check=False, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_no_file_is_long():
    lines = {name: len((ROOT / name).read_text().splitlines()) for name in hand_written()}
    assert {name: count for name, count in lines.items() if count > FILE_LINES_MAX} == {}


def long_functions(name: str) -> list[str]:
    return [
        f"{name}:{node.lineno} {node.name}"
        for node in ast.walk(tree_of(ROOT / name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]


def test_no_function_is_long():
    assert [found for name in hand_written() for found in long_functions(name)] == []


def compiled_modules():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["barnabas"]["compiled"]
    return [ROOT / "src" / (name.replace(".", "/") + ".py") for name in listed]


@pytest.mark.parametrize("module", compiled_modules(), ids=lambda path: path.stem)
def test_a_name_catches_one_kind_of_exception_in_a_compiled_function(module):
    """It has the type of the first there: the second would raise TypeError (docs/decisions/0007)."""
    for function in ast.walk(tree_of(module)):
        if not isinstance(function, ast.FunctionDef):
            continue
        kinds = {}
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and node.name:
                kinds.setdefault(node.name, set()).add(ast.unparse(node.type))
        assert not [name for name, caught in kinds.items() if len(caught) > 1], function.name


def final_when_compiled():
    """Classes of compiled modules that only compiled classes may extend, as module.Class."""
    found = set()
    for module in compiled_modules():
        name = ".".join(module.relative_to(ROOT / "src").with_suffix("").parts)
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.ClassDef):
                told = " ".join(map(ast.unparse, [*node.decorator_list, *node.bases]))
                if "allow_interpreted_subclasses" not in told and "Protocol" not in told:
                    found.add(f"{name}.{node.name}")
    return found


def test_no_interpreted_class_extends_a_compiled_one():
    """Importing it would raise TypeError in the compiled package."""
    compiled, closed = set(compiled_modules()), final_when_compiled()
    broken = []
    for name in hand_written():
        if not name.startswith("src/") or ROOT / name in compiled:
            continue
        tree = tree_of(ROOT / name)
        known = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        broken += [
            f"{name}: {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            and any(known.get(ast.unparse(base)) in closed for base in node.bases)
        ]
    assert broken == []


def test_every_module_says_why_it_exists():
    silent = [name for name in hand_written() if not ast.get_docstring(tree_of(ROOT / name))]
    assert [name for name in silent if (ROOT / name).read_text().strip()] == []


@pytest.mark.parametrize("key", handlers.SERVED, ids=handlers.SERVED.get)
def test_a_served_api_has_a_handler_of_its_own(key):
    api = handlers.load(key)
    assert (api.key, api.name) == (key, apis.BY_KEY[key].name)
    assert handlers.SERVED[key] == apis.BY_KEY[key].module


@pytest.mark.parametrize("key", handlers.SERVED, ids=handlers.SERVED.get)
def test_a_handler_begins_with_its_name_and_versions(key):
    head = head_of(key)
    low, high = handlers.versions(key)
    assert head.startswith(f"{apis.BY_KEY[key].name} ({key}), v{low}{'' if low == high else f'-{high}'}. ")


def test_no_handler_is_without_an_api():
    files = {path.stem for path in (ROOT / "src/barnabas/server/handlers").glob("*.py")} - {"__init__"}
    assert files == set(handlers.SERVED.values())


@pytest.mark.parametrize("script", ["generate.py", "api_docs.py", "option_facts.py"])
def test_what_is_generated_is_up_to_date(script):
    ran = subprocess.run(
        [sys.executable, ROOT / "codegen" / script, "--check"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_page_of_options_is_up_to_date():
    from barnabas.config import docs

    assert (ROOT / "docs/config/reference.md").read_text() == docs.page()


@pytest.mark.parametrize("pattern", [MACHINE_PATHS, REGISTRIES], ids=["paths of a machine", "registries"])
def test_no_file_names_a_machine(pattern):
    found = [
        f"{name}:{number}"
        for name in tracked()
        if name != "tests/test_architecture.py" and (text := text_of(name)) is not None
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_locks_name_packages_and_hashes_only():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert len(re.findall("^[a-z]", text, re.M)) == len(re.findall(r"==[^\n]*\\\n +--hash=sha256:", text))
