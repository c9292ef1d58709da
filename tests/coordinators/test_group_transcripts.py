"""Every transcript in tests/transcripts/group happens as it is written."""

from pathlib import Path

import pytest
from covers import TRAFFIC
from transcript import claims_in, options_of, replay
from virtual_stage import VirtualStage

FOLDER = Path(__file__).parent.parent / "transcripts" / "group"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, request: pytest.FixtureRequest) -> None:
    happened = "\n".join(replay(path, VirtualStage(options_of(path)))) + "\n"
    if request.config.getoption("--rewrite-transcripts"):
        path.write_text(happened)
    assert happened == path.read_text()
    unmet = TRAFFIC.unmet(claims_in(path))
    assert not unmet, "claimed and not seen: " + "; ".join(unmet)
