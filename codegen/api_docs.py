"""Writes docs/apis.md: every API that is served, from the heads of its handlers. `--check` only says whether it differs."""

import re
import sys
from importlib import import_module
from pathlib import Path

from barnabas.server import handlers
from barnabas.wire import apis

PAGE = Path(__file__).parent.parent / "docs" / "apis.md"
HEAD = """# APIs

Written by `python codegen/api_docs.py` from the heads of `src/barnabas/server/handlers`; change those, not this page.
What is not here is not advertised. Versions are all those of Apache Kafka 4.3 where nothing else is said.

| Key | API | Versions | What it does |
|---|---|---|---|
"""


def summary(text: str) -> str:
    """The first paragraph of a handler's head, without what stands in other columns or is of use in the code only."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    _, _, told = paragraph.partition(". ")
    return re.sub(r" Rules: [\w/]+\.py[.;]?", "", told)


def page() -> str:
    rows = []
    for key in sorted(handlers.SERVED):
        low, high = handlers.versions(key)
        head = import_module(f"barnabas.server.handlers.{handlers.SERVED[key]}").__doc__
        versions = f"{low}" if low == high else f"{low} to {high}"
        rows.append(f"| {key} | {apis.BY_KEY[key].name} | {versions} | {summary(head)} |\n")
    return HEAD + "".join(rows)


def main() -> int:
    text = page()
    differs = not PAGE.exists() or PAGE.read_text() != text
    if "--check" in sys.argv:
        print("docs/apis.md differs: python codegen/api_docs.py" if differs else "docs/apis.md is up to date")
        return int(differs)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
