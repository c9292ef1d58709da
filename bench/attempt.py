"""One measurement of a line: its figures, or why there are none."""

import subprocess
import sys
import traceback

from .broker import BrokerFailed
from .catalog import Line
from .load import LoadFailed
from .site import Figures, Site

EXPECTED = (LoadFailed, BrokerFailed, AssertionError, ConnectionError, subprocess.CalledProcessError)


def attempt(line: Line, site: Site) -> tuple[Figures, str]:
    """The figures, and the failure; one of the two is empty. A failure names what went wrong and, when the broker has
    ended, its last words; one that nobody foresaw also leaves its traceback on stderr. The run goes on in any case."""
    try:
        return line.measure.run(site), ""
    except Exception as error:
        parts = [f"{type(error).__name__}: {error}", site.how_it_ended()]
        first = error.__context__
        while first is not None:  # what an error on the way out (a topic that cannot be deleted) would hide
            parts.append(f"after {type(first).__name__}: {first}")
            first = first.__context__
        if not isinstance(error, EXPECTED):
            print(f"{line.key}, {site.name}:", file=sys.stderr)
            traceback.print_exception(error)
        return {}, "; ".join(part for part in parts if part)
