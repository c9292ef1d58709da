"""A broker in memory, and the command line in this process."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from click.testing import Result
from terminal import Rows, Run, invoked

import barnabas

NUMBERS = count(1)


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with barnabas.Broker(config={"log.retention.ms": -1}) as broker:  # for records of 1970
        yield broker.bootstrap


@pytest.fixture
def run(bootstrap: str) -> Run:
    def run(*args: str, stdin: str | bytes | None = None) -> Result:
        return invoked(bootstrap, args, stdin)

    return run


@pytest.fixture
def rows(run: Run) -> Rows:
    """The objects that a command prints; it must end well."""

    def rows(*args: str) -> list[dict[str, Any]]:
        ended = run(*args)
        assert ended.exit_code == 0, ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()]

    return rows


@pytest.fixture
def topic(run: Run, request: pytest.FixtureRequest) -> str:
    """A topic of one partition, named after the test."""
    name = f"{request.node.originalname[5:]}-{next(NUMBERS)}"
    assert run("topic", "create", name, "-p", "1").exit_code == 0
    return name
