"""For all tests: claims of `covers` are checked, and in CI a skipped test is a failed one.

In CI (CI=true, set by .ci/run) everything that a test needs is there.
"""

import gc
import os
import sys
from collections.abc import Generator
from typing import Final

import pytest
from covers import TRAFFIC
from hypothesis import HealthCheck, settings

from barnabas.wire import primitives

# How fast examples are made depends on what else the machine does: no reason to fail.
settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")

# Hundreds of processes are started: each would compile the whole package for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

IN_CI: Final = os.environ.get("CI") == "true"
IS_COMPILED: Final = not primitives.__file__.endswith(".py")
Report = pytest.TestReport | pytest.CollectReport


def refuse_skip(report: Report) -> Report:
    """Expected failures are reported as skipped too; they are none."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} may not be skipped in CI: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Report, Report]:
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Report, Report]:
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Of the test alone: what its fixtures send is not counted."""
    TRAFFIC.clear()
    result = yield
    unmet = TRAFFIC.unmet(claim for mark in item.iter_markers("covers") for claim in mark.args)
    assert not unmet, "claimed and not seen: " + "; ".join(unmet)
    return result


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Nothing can be patched in a compiled class: tests that must are of the pure package."""
    if not IS_COMPILED:
        return
    gone = [item for item in items if item.get_closest_marker("patches")]
    items[:] = [item for item in items if not item.get_closest_marker("patches")]
    config.hook.pytest_deselected(items=gone)


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the collector of garbage need not look through thousands of tests each time."""
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-transcripts",
        action="store_true",
        help="write what happens now into tests/transcripts; review the diff",
    )
