"""The Python in the README and the guides runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
PAGES = ("README.md", "docs/guide/python.md", "docs/guide/workers.md")
BLOCKS = [(page, block) for page in PAGES for block in BLOCK.findall((ROOT / page).read_text())]


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_python_of_a_page_runs(page: str, block: str, tmp_path: Path) -> None:
    path = tmp_path / "test_block.py"
    path.write_text(block)
    as_test = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "def test_" in block else []
    ended = subprocess.run(
        [sys.executable, *as_test, str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout, "it shows something"


def test_there_is_python_on_every_page() -> None:
    assert {page for page, _ in BLOCKS} == set(PAGES)
