"""Compiles the modules of `[tool.barnabas] compiled` into the wheel when BARNABAS_COMPILE=1; else the wheel is pure.

mypyc turns them into one C extension (docs/decisions/0007). What was built is kept in build/compiled under the hash of all
that it was made from, so that the next build of the same sources takes a second.
"""

import hashlib
import os
import shutil
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
CACHE = ROOT / "build" / "compiled"
FLAGS = ("-fvisibility=hidden", "-fno-plt", "-w")
"""Calls between our modules go straight to the function, those into Python by one jump: 2 % fewer instructions a request.
Warnings of generated C help nobody, and to look for them takes a tenth of the time."""


class CompileHook(BuildHookInterface):
    """Adds the extension modules to the wheel and marks it as one of this platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or os.environ.get("BARNABAS_COMPILE") != "1":
            return
        for built in compiled():
            build_data["force_include"][str(built)] = str(
                built.relative_to(CACHE / built.relative_to(CACHE).parts[0])
            )
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def sources() -> list[str]:
    """The compiled modules, as paths from the root."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["barnabas"]["compiled"]
    return ["src/" + name.replace(".", "/") + ".py" for name in listed]


def compiled() -> list[Path]:
    """The extension modules, from the cache when nothing they are made from has changed."""
    from importlib.metadata import version

    digest = hashlib.sha256(f"{sys.version} mypy {version('mypy')} librt {version('librt')}".encode())
    for path in sorted((ROOT / "src").rglob("*.py")):  # types come from modules that are not compiled, too
        digest.update(path.read_bytes())
    digest.update("\n".join(sources()).encode())
    digest.update(Path(__file__).read_bytes())
    kept = CACHE / digest.hexdigest()[:16]
    if not kept.exists():
        unfinished = kept.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        build_into(unfinished)
        unfinished.rename(kept)
    return sorted(kept.rglob("*.so"))


def build_into(folder: Path) -> None:
    """A C file for each module: half the work of a single file of all of them."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    class BuildAtOnce(build_ext):
        """Has a compiler on every core; setuptools compiles the sources of one extension in turn."""

        def build_extensions(self) -> None:
            in_turn = self.compiler.compile
            with ThreadPoolExecutor(self.parallel) as compilers:

                def at_once(files: list[str], **given: Any) -> list[str]:
                    return [made for (made,) in compilers.map(lambda file: in_turn([file], **given), files)]

                self.compiler.compile = at_once
                super().build_extensions()

    os.chdir(ROOT)
    modules = mypycify(
        [*sources()],
        opt_level="3",
        debug_level="0",
        multi_file=True,
        target_dir=str(folder / "c"),
        group_name="barnabas",
    )
    for module in modules:
        module.extra_compile_args = [*module.extra_compile_args, *FLAGS]
    distribution = Distribution({"name": "barnabas", "ext_modules": modules, "package_dir": {"": "src"}})
    command = BuildAtOnce(distribution)
    command.build_lib, command.build_temp = str(folder), str(folder / "objects")
    command.parallel = len(os.sched_getaffinity(0))
    command.ensure_finalized()
    command.run()
    shutil.rmtree(folder / "c")
    shutil.rmtree(folder / "objects")
