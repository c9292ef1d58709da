"""What an option is: a name, a type with its bounds, a default, how it may change, and what we do with it."""

import re
from difflib import get_close_matches
from typing import Final

RANGE: Final = re.compile(r"\[(-?[\d.]+),\.\.\.(?:,(-?[\d.]+))?\]( or -1)?")
TYPE_CODES: Final = {
    "boolean": 1,
    "string": 2,
    "int": 3,
    "short": 4,
    "long": 5,
    "double": 6,
    "list": 7,
    "class": 8,
    "password": 9,
}
"""ConfigType of DescribeConfigs (KIP-569)."""

WIDTHS: Final = {"short": 15, "int": 31, "long": 63}
INERT: Final = "inert"


class Option:
    """One option. acts: the module where it acts, or "inert"; why: our sentence on it."""

    __slots__ = (
        "acts",
        "choices",
        "default",
        "dynamic",
        "importance",
        "internal",
        "kind",
        "maximum",
        "minimum",
        "minus_one",
        "name",
        "non_empty",
        "why",
    )

    def __init__(
        self,
        name: str,
        kind: str,
        default: str | None,
        bounds: str,
        importance: str,
        dynamic: str,
        internal: bool,
        acts: str = INERT,
        why: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.importance = importance
        self.dynamic = dynamic
        self.internal = internal
        self.acts = acts
        self.why = why
        self.non_empty = bounds.startswith("non-empty")
        found = RANGE.match(bounds)
        self.minimum = float(found[1]) if found else None
        self.maximum = float(found[2]) if found and found[2] else None
        self.minus_one = bool(found and found[3]) or " or -1" in bounds
        self.choices: tuple[str, ...] = ()
        if not found and bounds.startswith("[") and kind in ("string", "list") and ":" not in bounds:
            self.choices = tuple(bounds.strip("[]").split(", "))

    @property
    def is_inert(self) -> bool:
        return self.acts == INERT

    @property
    def is_sensitive(self) -> bool:
        return self.kind == "password"

    @property
    def type_code(self) -> int:
        return TYPE_CODES[self.kind]

    def fault(self, text: str) -> str | None:
        """What is wrong with a value; None when nothing is."""
        if self.kind == "boolean":
            return None if text.strip().lower() in ("true", "false") else self._bad(text, "true or false")
        if self.kind in WIDTHS or self.kind == "double":
            return self._number_fault(text)
        if self.kind == "list":
            items = split_list(text)
            if self.non_empty and not items:
                return self._bad(text, "at least one item")
            wrong = [item for item in items if self.choices and item not in self.choices]
            return self._bad(wrong[0], " or ".join(self.choices)) if wrong else None
        if self.choices and text not in self.choices:
            return self._bad(text, " or ".join(self.choices))
        return self._bad(text, "something") if self.non_empty and not text else None

    def _number_fault(self, text: str) -> str | None:
        try:
            value: float = float(text) if self.kind == "double" else int(text.strip())
        except ValueError:
            return self._bad(text, "a number" if self.kind == "double" else "a whole number")
        if self.kind in WIDTHS and not -(1 << WIDTHS[self.kind]) <= value < 1 << WIDTHS[self.kind]:
            return self._bad(text, f"a number of {WIDTHS[self.kind] + 1} bits")
        if value == -1 and self.minus_one:
            return None
        if self.minimum is not None and value < self.minimum:
            return self._bad(text, f"at least {self.minimum:g}")
        if self.maximum is not None and value > self.maximum:
            return self._bad(text, f"at most {self.maximum:g}")
        return None

    def _bad(self, text: str, wanted: str) -> str:
        return f"Invalid value {text!r} for {self.name}: it takes {wanted}."


def split_list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def nearest(name: str, known: list[str]) -> str | None:
    """The known name a mistyped one probably means."""
    found = get_close_matches(name, known, n=1, cutoff=0.75)
    return found[0] if found else None
