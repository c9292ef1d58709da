"""ApiVersions (18), v0-4. What this broker serves.

Behaviour  Lists exactly the APIs of handlers.SERVED. Produce is listed from v0, though v0-2 are refused: librdkafka
           judges a broker's features by that row (KAFKA-18659).
Versions   v3: client software name and version (bad ones: INVALID_REQUEST), features. v4: features from 0 are listed.
           A version we do not know is answered by dispatch, in v0, with error 35.
"""

import re
from typing import Final

from barnabas import errors
from barnabas.server import handlers
from barnabas.server.api import Api
from barnabas.server.broker import Broker
from barnabas.server.caller import Caller
from barnabas.wire.messages import api_versions as message
from barnabas.wire.messages.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

PRODUCE: Final = 0
SOFTWARE: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?\Z")


def handle(broker: Broker, ask: ApiVersionsRequest, version: int, caller: Caller) -> ApiVersionsResponse:
    if version >= 3:
        if not (SOFTWARE.match(ask.client_software_name) and SOFTWARE.match(ask.client_software_version)):
            return ApiVersionsResponse(error_code=errors.INVALID_REQUEST)
    return ApiVersionsResponse(
        api_keys=[
            ApiVersion(api_key=key, min_version=0 if key == PRODUCE else low, max_version=high)
            for key in handlers.SERVED
            for low, high in (handlers.versions(key),)
        ],
        supported_features=[
            SupportedFeatureKey(name=name, min_version=low, max_version=high)
            for name, (low, high) in broker.image.features_supported.items()
            if low > 0 or version >= 4
        ],
        finalized_features_epoch=broker.image.features_epoch,
        finalized_features=[
            FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
            for name, level in broker.image.features_finalized.items()
        ],
        zk_migration_ready=False,
    )


API = Api(
    18,
    message,
    handle,
    codes=(
        errors.UNSUPPORTED_VERSION,
        errors.INVALID_REQUEST,
    ),
)
