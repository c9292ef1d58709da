"""kio, an independent codec, reads what we write as the same values, and writes the same bytes.

kio has one class per API and version whose fields stand in the order of the definition; it maps times, error codes and
uuids to richer types, which are brought back to plain ones here.
"""

import datetime

from wire_samples import KINDS

EPOCH = datetime.datetime.fromtimestamp(0, tz=datetime.UTC)
MILLISECOND = datetime.timedelta(milliseconds=1)
API_KINDS = [kind for kind in KINDS if kind.definition.key >= 0]
