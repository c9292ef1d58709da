"""The modules of the bench import each other in one direction, also inside functions."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "bench"


def imported(source: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {each.name for each in node.names}
    return found


def test_no_module_of_the_bench_imports_itself_through_others() -> None:
    graph = {source.stem: imported(source) for source in FOLDER.glob("*.py")}
    assert "drive" in graph["raw"], "imports are seen"
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle
