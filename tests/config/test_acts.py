"""No option claims an effect that it does not have: the module it names is there and reads it."""

import re
from pathlib import Path

import pytest

import barnabas.config
from barnabas import __version__
from barnabas.config import uses
from barnabas.config.docs import page
from barnabas.config.tables import BROKER, TOPIC, options

SOURCE = Path(barnabas.config.__file__).parents[1]
NAMED_OTHERWISE = {"cleanup.policy": "cleanup_delete", "log.dirs": "log_dirs"}
ACTING = [
    (scope, option)
    for scope in ("broker", "topic")
    for option in options(scope).values()
    if not option.is_inert
]


def attribute(name):
    plain = name.removeprefix("barnabas.").removeprefix("message.timestamp")
    plain = plain if plain == name.removeprefix("barnabas.") else f"timestamp{plain}"
    return NAMED_OTHERWISE.get(name, plain.replace(".", "_"))


@pytest.mark.parametrize(("scope", "option"), ACTING, ids=lambda given: getattr(given, "name", given))
def test_an_option_is_read_where_it_is_said_to_act(scope, option):
    module = SOURCE / option.acts
    assert module.is_file()
    text = module.read_text()
    defaults = {name for names in uses.SYNONYMS.values() for name, _ in names}
    if scope == "broker" and option.name in defaults and option.acts == "config/effective.py":
        return
    assert option.name in text or attribute(option.name) in text


def test_every_acting_option_says_what_it_does():
    assert [option.name for _, option in ACTING if not option.why.endswith(".")] == []


def numbers(version):
    return [int(number) for number in re.findall(r"\d+", version)]


def test_the_page_says_since_when_an_option_acts() -> None:
    """Of every option that acts, and of none that is inert; a version that is not out yet is none."""
    known = {option.name: option for scope in (BROKER, TOPIC) for option in options(scope).values()}
    assert not [name for name in uses.SINCE if name not in known or known[name].is_inert]
    versions = [uses.FIRST_VERSION, *uses.SINCE.values()]
    assert all(numbers(each) <= numbers(__version__) for each in versions)
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    acting = [
        option for scope in (BROKER, TOPIC) for option in options(scope).values() if not option.is_inert
    ]
    assert len(rows) == len(acting)
    assert all(line.split(" | ")[5] in versions for line in rows)
