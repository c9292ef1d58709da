"""How people write where to start and stop."""

import click
import pytest

from barnabas.cli.places import Where, parse_range, parse_time

NOW = 10_000_000_000_000


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("start", Where("start"), None),
        ("end", Where("end"), None),
        ("12", Where("offset", 12), None),
        ("-50", Where("tail", 50), None),
        ("3:9", Where("offset", 3), Where("offset", 9)),
        ("start:9", Where("start"), Where("offset", 9)),
        ("-5:end", Where("tail", 5), Where("end")),
        ("@5:@9", Where("time", 5), Where("time", 9)),
        ("@-1h:end", Where("time", NOW - 3_600_000), Where("end")),
        ("@1970-01-01..+1h", Where("time", 0), Where("time", 3_600_000)),
        ("@1970-01-01T01:00", Where("time", 3_600_000), None),
        ("@1970-01-01T01:00:@1970-01-01T02:00+01:00", Where("time", 3_600_000), Where("time", 3_600_000)),
    ],
)
def test_ranges(text: str, start: Where, stop: Where | None) -> None:
    assert parse_range(text, NOW) == (start, stop)


@pytest.mark.parametrize("text", ["", "soon", "1:start", "@", "@yesterday", "5..+1h", "1:2:3"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_range(text, NOW)


@pytest.mark.parametrize(
    ("text", "back"), [("-1500ms", 1500), ("-2s", 2000), ("-3m", 180_000), ("-1d", 86_400_000)]
)
def test_spans(text: str, back: int) -> None:
    assert parse_time(text, NOW) == NOW - back
