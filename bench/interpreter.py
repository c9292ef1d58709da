"""Which interpreter a broker runs on: the version, and how that was compiled, which decides a fifth of a request's CPU.

`python -m bench.interpreter` tells it of the one that runs it.
"""

import ctypes
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

APART = 1 << 17
"""Bytes; more than the code of CPython's object.c, of which the two functions below are, takes as a whole."""


def described(python: Path | None = None) -> str:
    """python: another interpreter than this one."""
    if python is not None:
        command = [str(python), "-m", __name__]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    build = "optimized" if is_optimized() else "not optimized"
    linked = "shared" if is_shared() else "static"
    version = f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}"
    return f"{version}, {build}, {linked}, {sysconfig.get_config_var('CC')}"


def is_optimized() -> bool:
    """With a profile (PGO). Debian has that without configure's flag; so what counts there is where the functions are: with a
    profile, those that training did not call lie in a section of their own, far from the others of the same file.
    """
    if "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")):
        return True
    called, not_called = (address(name) for name in ("PyObject_GetAttr", "PyObject_Print"))
    return abs(called - not_called) > APART


def address(function: str) -> int:
    """Of a function of the interpreter, in this process."""
    return ctypes.cast(getattr(ctypes.pythonapi, function), ctypes.c_void_p).value or 0


def is_shared() -> bool:
    """Whether a library has the interpreter, so that each call in it goes through a table. Debian's sysconfig says so of a
    program that has it itself.
    """
    return "/libpython" in Path("/proc/self/maps").read_text()


if __name__ == "__main__":
    sys.stdout.write(described() + "\n")
