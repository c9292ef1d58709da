"""ApiVersions, field by field, as Apache Kafka 4.3 was seen to answer. Which versions: test_every_version."""

from typing import Any

import pytest
from covers import TRAFFIC, covers
from rawclient import RawClient, frame_of, header_of

from barnabas import errors
from barnabas.server.handlers import SERVED, versions
from barnabas.wire.messages import api_versions

PRODUCE, API_VERSIONS = 0, 18
METADATA_VERSION = 30
"""metadata.version of Kafka 4.3."""


def asked(client: RawClient, version: int = 4, name: str = "raw", release: str = "1") -> Any:
    ask = api_versions.ApiVersionsRequest(client_software_name=name, client_software_version=release)
    return client.call(api_versions, ask, version)


@covers(
    "ApiVersions",
    "api_keys.api_key",
    "api_keys.min_version",
    "api_keys.max_version",
    "response.error_code=default",
    "throttle_time_ms=default",
)
def test_every_served_api_is_told_with_its_versions(client: RawClient) -> None:
    """Produce from v0, though v0 to v2 are refused: Kafka does so for librdkafka's sake."""
    served = {key: versions(key) for key in SERVED} | {PRODUCE: (0, versions(PRODUCE)[1])}
    for version in range(5):
        rows = asked(client, version).api_keys
        assert {row.api_key: (row.min_version, row.max_version) for row in rows} == served
        assert len(rows) == len(served)


@covers(
    "ApiVersions", "client_software_name", "client_software_version", "response.error_code", "INVALID_REQUEST"
)
@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("", ""),
        ("", "1"),
        ("raw", ""),
        ("a b", "1"),
        ("-a", "1"),
        ("a", "1."),
        ("a", ".1"),
        ("é", "1"),
        ("a\n", "1"),
    ],
)
def test_software_is_named_in_letters_digits_dots_and_dashes(
    client: RawClient, name: str, release: str
) -> None:
    assert asked(client, 3, "a.b-c", "2.3-x").error_code == 0
    refused = asked(client, 3, name or "", release)
    assert (refused.error_code, refused.api_keys) == (errors.INVALID_REQUEST, [])


def test_before_v3_nobody_is_asked_for_a_name(client: RawClient) -> None:
    assert asked(client, 2, "", "").error_code == 0


@covers(
    "ApiVersions",
    "supported_features.name",
    "supported_features.min_version",
    "supported_features.max_version",
    "finalized_features_epoch",
    "finalized_features.name",
    "finalized_features.max_version_level",
    "finalized_features.min_version_level",
    "zk_migration_ready=default",
)
@pytest.mark.parametrize("version", [3, 4])
def test_features_are_told_since_v3(client: RawClient, version: int) -> None:
    answer = asked(client, version)
    supported = [(each.name, each.min_version, each.max_version) for each in answer.supported_features]
    assert supported == [("metadata.version", 7, METADATA_VERSION)]
    finalized = [
        (each.name, each.min_version_level, each.max_version_level) for each in answer.finalized_features
    ]
    assert finalized == [("metadata.version", METADATA_VERSION, METADATA_VERSION)]
    assert answer.finalized_features_epoch >= 0
    assert answer.zk_migration_ready is False


@covers("ApiVersions", "UNSUPPORTED_VERSION", "response.error_code", "api_keys.api_key")
@pytest.mark.parametrize("version", [5, 99, 32_767, -1])
def test_a_version_yet_to_come_is_answered_in_v0_with_our_own(client: RawClient, version: int) -> None:
    client.send(frame_of(header_of(API_VERSIONS, version) + b"\0" + b"what nobody can read"))
    frame = client.read_frame()
    assert frame is not None
    answer = api_versions.decode_response(frame, 4, 0)
    TRAFFIC.received(API_VERSIONS, 0, answer)
    assert answer.error_code == errors.UNSUPPORTED_VERSION
    assert [(row.api_key, row.min_version, row.max_version) for row in answer.api_keys] == [
        (API_VERSIONS, 0, 4)
    ]
