"""The metrics page in Prometheus' text format (version 0.0.4), rendered from the declared names."""

from typing import Any, Final

from barnabas.telemetry import Counter, Family, Gauge, Histogram, Telemetry

KINDS: Final[dict[type[Any], str]] = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}


def render(telemetry: Telemetry) -> str:
    """All families, in the order of their declaration."""
    lines: list[str] = []
    for family in telemetry.families.values():
        lines.append(f"# HELP {family.name} {family.text}")
        lines.append(f"# TYPE {family.name} {KINDS[family.kind]}")
        for values, child in family.children.items():
            lines += _child_lines(family, values, child)
    return "\n".join(lines) + "\n"


def _labels(family: Family, values: tuple[str, ...], more: str = "") -> str:
    parts = [f'{name}="{_escape(value)}"' for name, value in zip(family.labels, values, strict=True)]
    parts += [more] if more else []
    return "{" + ",".join(parts) + "}" if parts else ""


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _child_lines(family: Family, values: tuple[str, ...], child: Counter | Gauge | Histogram) -> list[str]:
    if not isinstance(child, Histogram):
        return [f"{family.name}{_labels(family, values)} {child.value:g}"]
    lines = []
    below = 0
    bounds = [f"{us / 1e6:g}" for us in child.bounds_us]
    for bound, count in zip((*bounds, "+Inf"), child.counts, strict=True):
        below += count
        label = f'le="{bound}"'
        lines.append(f"{family.name}_bucket{_labels(family, values, label)} {below}")
    lines.append(f"{family.name}_sum{_labels(family, values)} {child.total_us / 1e6}")
    lines.append(f"{family.name}_count{_labels(family, values)} {below}")
    return lines
