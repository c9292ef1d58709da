"""What an option is: a name, a type with its bounds, a default, how it may change, and what we do with it."""

import re
from difflib import get_close_matches
from math import isfinite
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
NUMBER: Final = re.compile(r"\s*[+-]?[0-9]+\s*\Z")
"""Java's own: Python would also take 1_000."""

JAVA_DOUBLE: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[dDfF]?\Z")

EMPTY_REFUSED: Final = frozenset(
    {
        "advertised.listeners",
        "controller.listener.names",
        "group.consumer.assignors",
        "group.coordinator.rebalance.protocols",
        "group.share.assignors",
        "listeners",
        "log.dir",
        "log.dirs",
        "process.roles",
    }
)
"""Lists whose emptiness Kafka refuses without saying so in the bounds it prints."""

REPEATS_TAKEN: Final = frozenset({"match", "metrics"})
"""Lists that Kafka does not look into: repeated and empty items are taken."""

THROTTLED: Final = re.compile(r"\*|[0-9]+:[0-9]+(,[0-9]+:[0-9]+)*|\Z")
DURATION: Final = re.compile(
    r"by_duration:\+?P(?=.)(\+?\d+D)?(T(?=.)(\+?\d+H)?(\+?\d+M)?(\+?\d+([.,]\d{0,9})?S)?)?", re.I
)


class Option:
    """One option. acts: the module where it acts, or "inert"; why: our sentence on it."""

    __slots__ = (
        "acts",
        "any_case",
        "choices",
        "default",
        "dynamic",
        "importance",
        "internal",
        "is_throttled",
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
        self.any_case = bounds.startswith("(case insensitive) ")
        listed = bounds.removeprefix("(case insensitive) ")
        self.is_throttled = listed.startswith("[partitionId]")
        self.choices: tuple[str, ...] = ()
        if not found and listed.startswith("[") and kind in ("string", "list") and not self.is_throttled:
            self.choices = tuple(listed.strip("[]").split(", "))

    @property
    def is_inert(self) -> bool:
        return self.acts == INERT

    @property
    def is_sensitive(self) -> bool:
        return self.kind == "password"

    @property
    def type_code(self) -> int:
        return TYPE_CODES[self.kind]

    def normal(self, text: str) -> str:
        """How Kafka shows a value once it has taken it: no spaces round it, no sign that says nothing, list items once.

        A value that is not of the kind stays as it is, for fault to judge.
        """
        bare = text.strip()
        if self.kind == "boolean":
            return bare.lower() if bare.lower() in ("true", "false") else text
        if self.kind in WIDTHS:
            return str(int(bare)) if NUMBER.match(text) else text
        if self.kind == "double":
            return str(float(bare.rstrip("dDfF"))) if JAVA_DOUBLE.match(bare) else text
        if self.kind != "list":
            return text
        items = [item.strip() for item in text.split(",")]
        return ",".join(items if self.is_throttled else dict.fromkeys(items))

    def fault(self, text: str) -> str | None:
        """What is wrong with a value; None when nothing is."""
        if self.kind == "boolean":
            return None if text.strip().lower() in ("true", "false") else self._bad(text, "true or false")
        if self.kind in WIDTHS or self.kind == "double":
            return self._number_fault(text)
        if self.kind == "list":
            return self._list_fault(text)
        if self.choices and not self._is_choice(text):
            return self._bad(text, " or ".join(self.choices))
        return self._bad(text, "something") if self.non_empty and not text else None

    def _is_choice(self, text: str) -> bool:
        if self.any_case:
            return text.upper() in self.choices
        if any(choice.startswith("by_duration:") for choice in self.choices) and DURATION.fullmatch(text):
            return True
        return text in self.choices and ":" not in text

    def _list_fault(self, text: str) -> str | None:
        """Kafka refuses empty and repeated items of nearly every list."""
        if self.is_throttled:
            pairs = ",".join(item.strip() for item in text.split(","))
            wanted = "partition:broker pairs by comma, or *"
            return None if THROTTLED.fullmatch(pairs) else self._bad(text, wanted)
        if not text.strip():
            return self._bad(text, "at least one item") if self.name in EMPTY_REFUSED else None
        items = [item.strip() for item in text.split(",")]
        if self.name in REPEATS_TAKEN:
            return None
        if "" in items:
            return self._bad(text, "no empty items")
        if len(set(items)) < len(items):
            return self._bad(text, "each item once")
        wrong = [item for item in items if self.choices and item not in self.choices]
        return self._bad(wrong[0], " or ".join(self.choices)) if wrong else None

    def _number_fault(self, text: str) -> str | None:
        if self.kind == "double":
            try:
                value = float(text.replace("_", "?"))
            except ValueError:
                return self._bad(text, "a number")
            if not isfinite(value):
                return self._bad(text, "a finite number")
        elif NUMBER.match(text):
            value = int(text)
        else:
            return self._bad(text, "a whole number")
        if self.kind in WIDTHS and not -(1 << WIDTHS[self.kind]) <= value < 1 << WIDTHS[self.kind]:
            return self._bad(text, f"a number of {WIDTHS[self.kind] + 1} bits")
        if value == -1 and self.minus_one:
            return None
        if self.minimum is not None and value < self.minimum:
            return self._bad(text, f"at least {_plain(self.minimum)}")
        if self.maximum is not None and value > self.maximum:
            return self._bad(text, f"at most {_plain(self.maximum)}")
        return None

    def _bad(self, text: str, wanted: str) -> str:
        return f"Invalid value {text!r} for {self.name}: it takes {wanted}."


def _plain(bound: float) -> str:
    return str(int(bound)) if bound.is_integer() else str(bound)


def split_list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def nearest(name: str, known: list[str]) -> str | None:
    """The known name a mistyped one probably means."""
    found = get_close_matches(name, known, n=1, cutoff=0.75)
    return found[0] if found else None
