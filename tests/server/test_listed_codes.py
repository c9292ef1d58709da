"""Each API lists all error codes it may answer: RawClient refuses others, and the handler's own source is looked at here."""

import ast
from pathlib import Path

import pytest
from covers import Traffic

from barnabas import errors
from barnabas.server import handlers
from barnabas.server.handlers import SERVED
from barnabas.wire.messages.find_coordinator import FindCoordinatorResponse


def codes_named(name: str) -> set[str]:
    """Every errors.X in the handler's module, but for the list itself."""
    tree = ast.parse((Path(str(handlers.__file__)).parent / f"{name}.py").read_text())
    listed = {
        id(node)
        for call in ast.walk(tree)
        if isinstance(call, ast.keyword) and call.arg == "codes"
        for node in ast.walk(call.value)
    }
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "errors"
        and id(node) not in listed
        and node.attr.isupper()
    } - {"NONE"}


@pytest.mark.parametrize("key", SERVED, ids=SERVED.get)
def test_a_handler_lists_the_codes_it_names(key: int) -> None:
    listed = [errors.name_of(code) for code in handlers.load(key).codes]
    assert codes_named(SERVED[key]) <= set(listed)
    assert len(listed) == len(set(listed)), "named twice"
    assert "NONE" not in listed


def test_a_code_that_is_not_listed_fails_the_test_that_sees_it() -> None:
    with pytest.raises(AssertionError, match="FindCoordinator v3 answered THROTTLING_QUOTA_EXCEEDED"):
        Traffic().received(
            10, 3, FindCoordinatorResponse(error_code=errors.THROTTLING_QUOTA_EXCEEDED, error_message="")
        )
