"""The interpreter that a broker ran on: its version and how it was compiled, told by itself."""

import platform
import sys
from pathlib import Path

import pytest
from bench.results import this_machine

from bench import interpreter


def test_another_interpreter_tells_of_itself_what_this_one_does() -> None:
    told = interpreter.described(Path(sys.executable))
    assert told == interpreter.described()
    assert told.startswith(f"CPython {platform.python_version()} {platform.machine()}, ")


def test_the_machine_of_the_figures_has_the_interpreter_of_the_broker(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho CPython of the broker, $*\n")
    other.chmod(0o755)
    assert this_machine(other)["Python"] == "CPython of the broker, -m bench.interpreter"
    assert this_machine(None)["Python"] == interpreter.described()


@pytest.mark.parametrize(
    ("arguments", "not_called", "optimized"),
    [
        ("'--enable-shared'", 3264, False),
        ("'--enable-shared'", -685_896, True),  # Debian's
        ("'--enable-optimizations' '--with-lto'", 3264, True),
        (None, 3264, False),
    ],
)
def test_a_profile_is_known_by_its_flag_or_by_where_the_functions_are(
    arguments: str | None, not_called: int, optimized: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = {"PyObject_GetAttr": 1 << 40, "PyObject_Print": (1 << 40) + not_called}
    monkeypatch.setattr(interpreter, "address", addresses.__getitem__)
    monkeypatch.setattr(interpreter.sysconfig, "get_config_var", {"CONFIG_ARGS": arguments}.get)
    assert interpreter.is_optimized() == optimized
