"""A broker in memory, and the command line in this process."""

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

import barnabas
from barnabas.cli.main import main

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with barnabas.Broker() as broker:
        yield broker.bootstrap


@pytest.fixture
def run(bootstrap: str) -> Run:
    def run(*args: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, list(args), input=stdin, env={"BARNABAS_BOOTSTRAP": bootstrap})

    return run
