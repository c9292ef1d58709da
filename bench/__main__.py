"""`python -m bench [--durability cache|sync] [--quick] [--only WORD]`: Barnabas alone, a line a load, nothing written.

Requests or messages a second, broker CPU microseconds each, latency. Other processes on the machine make the figures
worse. The comparison with Apache Kafka is `python -m bench.compare`.
"""

import argparse
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from .attempt import attempt
from .broker import RunningBroker, compiled_python
from .catalog import BOTH, METRICS, chosen
from .page_cache import FullPageCache
from .site import QUICK, Scale, Site

WARM_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--durability", choices=BOTH, default="cache")
    parser.add_argument("--quick", action="store_true", help="a fraction of the load")
    parser.add_argument("--compiled", action="store_true", help="the broker of .venv-compiled")
    parser.add_argument(
        "--only", metavar="WORD", help="lines whose name holds it: Produce, Fetch, librdkafka, cold"
    )
    given = parser.parse_args()
    python = compiled_python() if given.compiled else None
    if given.compiled and python is None:
        raise SystemExit("there is no compiled environment: make test-compiled")
    with tempfile.TemporaryDirectory() as folder, closing(FullPageCache(Path(folder))) as pages:
        site = Site(
            "barnabas",
            Path(folder),
            lambda data: RunningBroker(data, given.durability, python),
            WARM_S,
            QUICK if given.quick else Scale(),
        )
        failed = 0
        try:
            for line in chosen(given.only):
                if not given.quick:
                    pages.fill()
                figures, failure = attempt(line, site)
                told = [
                    f"{METRICS[key].label} {figures[key]:,.{METRICS[key].digits}f}"
                    for key in line.shown
                    if key in figures
                ]
                if failure:
                    failed, told = 1, [f"FAILED: {failure}"]
                print(f"{line.group + ', ' + line.name:58} {'  '.join(told)}", flush=True)
        finally:
            site.close()
    sys.exit(failed)


if __name__ == "__main__":
    main()
