"""Small SVG plots: bars on a logarithmic axis. The text is black on white, so that a page of any colour shows it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

LABEL_WIDTH, PLOT_WIDTH, VALUE_WIDTH = 370, 440, 140
ROW, BAR, TOP, BOTTOM = 26, 9, 46, 30
WIDTH = LABEL_WIDTH + PLOT_WIDTH + VALUE_WIDTH
COLOURS = ("#2b6cb0", "#b7791f")
GOAL = "#c53030"


@dataclass(frozen=True)
class Row:
    """values: a bar each. goal: a mark on the axis."""

    label: str
    values: tuple[float, ...]
    goal: float | None = None


def bars(
    title: str, legend: Sequence[str], rows: Sequence[Row], unit: str = "", origin: float | None = None
) -> str:
    """origin: the value that bars begin at, to either side; None: they begin at the left."""
    height = TOP + ROW * len(rows) + BOTTOM
    shown = [value for row in rows for value in (*row.values, row.goal or 0, origin or 0) if value > 0]
    low, high = math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown)) + 1e-9)
    high = max(high, low + 1)

    def x_of(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return LABEL_WIDTH + PLOT_WIDTH * min(max(share, 0), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="20" font-size="15" font-weight="bold">{escape(title)}</text>',
        *_legend(legend, any(row.goal for row in rows)),
    ]
    for power in range(low, high + 1):
        x = x_of(10.0**power)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{_number(10.0**power)}{unit}</text>'
        )
    for number, row in enumerate(rows):
        parts += _row(row, TOP + ROW * number, x_of, unit, x_of(origin) if origin else LABEL_WIDTH)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(row: Row, y: float, x_of: Callable[[float], float], unit: str, x_origin: float) -> list[str]:
    parts = [
        f'<text x="{LABEL_WIDTH - 8}" y="{y + ROW / 2 + 4}" text-anchor="end">{escape(row.label)}</text>'
    ]
    at = y + (ROW - BAR * len(row.values)) / 2
    for colour, value in zip(COLOURS, row.values, strict=False):
        if value > 0:
            left, right = sorted((x_of(value), x_origin))
            width = max(right - left, 1)
            parts.append(
                f'<rect x="{left:.1f}" y="{at:.1f}" width="{width:.1f}" height="{BAR - 1}" fill="{colour}"/>'
            )
        at += BAR
    text = " · ".join(_number(value) + unit for value in row.values)
    parts.append(f'<text x="{LABEL_WIDTH + PLOT_WIDTH + 8}" y="{y + ROW / 2 + 4}">{text}</text>')
    if row.goal:
        x = x_of(row.goal)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y + 2}" y2="{y + ROW - 2}" stroke="{GOAL}" stroke-width="2"/>'
        )
    return parts


def _legend(legend: Sequence[str], goals: bool) -> list[str]:
    parts, x = [], 10
    marks = list(zip(COLOURS, legend, strict=False)) + ([(GOAL, "goal")] if goals else [])
    for colour, name in marks:
        parts.append(f'<rect x="{x}" y="29" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="38">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    return parts


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
