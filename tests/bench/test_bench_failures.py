"""What goes wrong while a line is measured is named, and ends neither the run nor the lines after it."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bench.attempt import attempt
from bench.broker import RunningBroker
from bench.catalog import Line, chosen
from bench.site import QUICK, Figures, Measure, Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site("barnabas", tmp_path, lambda folder: RunningBroker(folder, "cache"), 0.0, QUICK)
    yield site
    site.close()


def line(measure: Callable[[Site], Figures]) -> Line:
    return replace(chosen("commits")[0], measure=Measure(measure))


def test_a_broker_that_ends_under_the_load_is_named_with_its_last_words_and_started_again(site: Site) -> None:
    def kill(site: Site) -> Figures:
        site.broker.stop(signal.SIGKILL)
        raise ConnectionError("the broker closed the connection")

    figures, failure = attempt(line(kill), site)
    assert not figures
    assert failure.startswith(
        "ConnectionError: the broker closed the connection; the broker ended with status -9: "
    )
    assert "serving" in failure
    figures, failure = attempt(chosen("commits")[0], site)
    assert figures["requests_s"] > 0 and not failure


def test_an_error_on_the_way_out_hides_no_error_before_it(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(site: Site) -> Figures:
        try:
            raise ValueError("the cause")
        finally:
            raise ConnectionError("cannot be deleted")

    assert attempt(line(fail), site)[1] == "ConnectionError: cannot be deleted; after ValueError: the cause"
    assert capsys.readouterr().err == ""


def test_an_error_that_nobody_foresaw_leaves_its_traceback(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(site: Site) -> Figures:
        raise KeyError("requests_s")

    assert attempt(line(fail), site)[1] == "KeyError: 'requests_s'"
    told = capsys.readouterr().err
    assert told.startswith("commits, barnabas:\nTraceback") and "in fail" in told
