"""What every broker process does alike, `serve` and each worker: its log lines, its last words, its garbage."""

import contextlib
import faulthandler
import gc
import json
import signal
import time
from typing import Final, TextIO

GC_THRESHOLD: Final = 20_000
"""Objects made before the collector looks: requests make no cycles, so it rarely has anything to find. To look at so many
takes a millisecond.
"""


class LineWriter:
    """Log lines on a stream, as text or as one JSON object each."""

    def __init__(self, stream: TextIO, form: str, **fields: object) -> None:
        """fields: at the end of each line."""
        self._stream = stream
        self._json = form == "json"
        self._fields = fields

    def __call__(self, level: str, message: str, fields: dict[str, object]) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        fields = {**fields, **self._fields}
        if self._json:
            line = json.dumps({"time": stamp, "level": level, "message": message, **fields}, default=str)
        else:
            told = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
            line = f"{stamp} {level.upper():7} {message}{' ' if told else ''}{told}"
        with contextlib.suppress(BrokenPipeError):
            # One write: the lines of several processes on one stream do not mix.
            self._stream.write(line + "\n")
            self._stream.flush()


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text) if " " in text or "\n" in text or '"' in text else text


def show_crashes() -> None:
    """A crash of the interpreter, or SIGQUIT, prints where each thread is."""
    faulthandler.enable()
    with contextlib.suppress(AttributeError, ValueError):
        faulthandler.register(signal.SIGQUIT, all_threads=True)


def settle_memory() -> None:
    """Once all is made that stays: the collector looks at it no more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
