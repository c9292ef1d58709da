"""Faults are slow and use raw requests: the raw client lives beside the tests of the server."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
