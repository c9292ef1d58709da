"""A data folder on disk and one in memory."""

from pathlib import Path

import pytest
from written_log import Disk

from barnabas.adapters.files import OsFiles
from barnabas.adapters.ram_files import RamFiles


@pytest.fixture(params=["os", "ram"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return Disk(OsFiles(), str(tmp_path)) if request.param == "os" else Disk(RamFiles(), "/ram")


@pytest.fixture
def os_disk(tmp_path: Path) -> Disk:
    return Disk(OsFiles(), str(tmp_path))
