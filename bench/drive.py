"""Drives a load by the generator in C (native.py) and, without a C compiler, by the one in Python (stream.py).

The latter costs more than a fast broker: its rates are then its own limit.
"""

from barnabas.errors import NAMES

from .load import NOTHING, Limits, Load, LoadFailed, Taken, Target
from .native import drive_in_c, generator
from .stream import drive_in_python


def drive(target: Target, load: Load, counted: Limits, warm: Limits = NOTHING) -> Taken:
    """Raises LoadFailed when an answer of the counted part is an error."""
    program = generator()
    if program is None:
        taken = drive_in_python(target, load, counted, warm)
    else:
        taken = drive_in_c(program, target, load, counted, warm)
    if taken.errors:
        name = NAMES.get(taken.first_error, "unknown")
        raise LoadFailed(
            f"{taken.errors} of {taken.requests} answers are errors, the first code {taken.first_error} ({name})"
        )
    if not taken.requests:
        raise LoadFailed("no request was counted: the warm part used them up")
    return taken
