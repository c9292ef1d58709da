"""Golden frames on disk: one text file per API, one frame a line, so that hundreds of small ones stay easy to read and diff.

A line: vVERSION request|response CLIENT FRAME, the frame in base64, as it came but for its size.
"""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from barnabas.wire import apis
from barnabas.wire.frame import response_body_at

API_VERSIONS = 18
FOLDER = Path(__file__).parent / "frames"


class Frame(NamedTuple):
    """One frame and who asked for it; client is also the one that a response went to."""

    api: str
    version: int
    direction: str
    client: str
    content: bytes

    def __str__(self) -> str:
        return f"{self.api}-v{self.version}-{self.direction}-{self.client}"


def read_frames(folder: Path = FOLDER) -> list[Frame]:
    frames = []
    for path in sorted(folder.glob("*.txt")):
        for line in path.read_text().splitlines():
            version, direction, client, content = line.split(" ")
            frames.append(Frame(path.stem, int(version[1:]), direction, client, base64.b64decode(content)))
    return frames


def write_frames(frames: Iterable[Frame], folder: Path = FOLDER) -> None:
    """These and no others: files of APIs that have no frame go."""
    lines: dict[str, list[str]] = {}
    for api, version, direction, client, content in sorted(frames):
        text = base64.b64encode(content).decode()
        lines.setdefault(api, []).append(f"v{version} {direction} {client} {text}\n")
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.txt"):
        path.unlink()
    for api, written in lines.items():
        (folder / f"{api}.txt").write_text("".join(written))


def advertised_pairs(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    """Every (key, version) that Apache Kafka says it serves, from its own answers to ApiVersions."""
    pairs = set()
    for frame in frames:
        if (frame.api, frame.direction, frame.client) == ("api_versions", "response", "java"):
            at = response_body_at(API_VERSIONS, frame.version, frame.content)
            answer = apis.load(API_VERSIONS).decode_response(frame.content, at, frame.version)
            for row in answer.api_keys:
                pairs.update(
                    (row.api_key, version) for version in range(row.min_version, row.max_version + 1)
                )
    return sorted(pairs)
