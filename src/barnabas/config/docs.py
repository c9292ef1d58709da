"""The reference page of all options, written from the tables: `python -m barnabas.config.docs > docs/config/reference.md`.

Kafka's sentences are not repeated: an option that acts here has ours, an inert one is only listed.
"""

from typing import Final

from barnabas.config import uses
from barnabas.config.option import Option
from barnabas.config.tables import BROKER, CLIENT_METRICS, GROUP, TOPIC, options

SCOPES: Final = (
    (BROKER, "Broker options"),
    (TOPIC, "Topic options"),
    (GROUP, "Group options"),
    (CLIENT_METRICS, "Client-metrics options"),
)
INTRODUCTION: Final = """# Options

Written by `python -m barnabas.config.docs`; change the tables in `src/barnabas/config`, not this page.

A value comes from a `.properties` file in Kafka's syntax, then from `BARNABAS_*` variables
(`BARNABAS_LOG_RETENTION_MS` is `log.retention.ms`, `BARNABAS_DURABILITY` is `barnabas.durability`), then from flags;
the later one counts. Dynamic changes count above all three. Inert options are Kafka's: known, accepted and shown,
without effect here."""


def page() -> str:
    """The whole page, ending with a newline."""
    parts = [INTRODUCTION]
    for scope, title in SCOPES:
        known = [option for _, option in sorted(options(scope).items())]
        parts.append(f"## {title}")
        acting = [option for option in known if not option.is_inert]
        if acting:
            rows = [
                "| Option | Type | Default | Values | Change | Acts since | What it does |",
                "|---|---|---|---|---|---|---|",
            ]
            parts.append("\n".join(rows + [_row(option) for option in acting]))
        inert = ", ".join(f"`{option.name}`" for option in known if option.is_inert)
        if inert:
            parts.append(f"Inert: {inert}.")
    return "\n\n".join(parts) + "\n"


def _row(option: Option) -> str:
    default = "none" if option.default is None else f"`{option.default}`" if option.default else "empty"
    since = uses.SINCE.get(option.name, uses.FIRST_VERSION)
    cells = (f"`{option.name}`", option.kind, default, _values(option), option.dynamic, since, option.why)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _values(option: Option) -> str:
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if option.minimum is None:
        return "any"
    low = f"{option.minimum:.0f}" if option.minimum.is_integer() else f"{option.minimum:g}"
    if option.maximum is None:
        bounds = f"from {low}"
    else:
        high = f"{option.maximum:.0f}" if option.maximum.is_integer() else f"{option.maximum:g}"
        bounds = f"{low} to {high}"
    return f"{bounds}, or -1" if option.minus_one else bounds


if __name__ == "__main__":
    print(page(), end="")
