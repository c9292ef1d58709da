"""The table per API is complete: each field and each error code that an API serves has a test that covers it."""

import pytest
from api_tests import missing

from barnabas.server.handlers import SERVED
from barnabas.wire import apis


@pytest.mark.parametrize("api", [apis.BY_KEY[key].name for key in SERVED])
def test_every_field_and_code_has_a_test(api: str) -> None:
    holes = missing(api)
    assert not holes, "; ".join(holes)
