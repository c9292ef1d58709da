"""Every method of the foreign clients is used in a test here, or stands in a list with the reason why not.

A new version of a client with a new method fails this test: then the method gets a test, or its reason.
"""

import re
from pathlib import Path

import aiokafka
import confluent_kafka
import kafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka.admin import AdminClient

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
TRANSACTIONS = "transactions are not served"
RIGHTS = "ACLs and SCRAM users are not served"
CLUSTER = "elections and reassignments are not served: partitions have one replica"
INTERNAL = "says nothing of a broker"

NOT_FOR_US: dict[str, str] = {
    **dict.fromkeys(
        ["abort_transaction", "begin_transaction", "commit_transaction", "init_transactions"], TRANSACTIONS
    ),
    **dict.fromkeys(["transaction", "send_offsets_to_transaction", "describe_transactions"], TRANSACTIONS),
    **dict.fromkeys(["list_transactions", "find_hanging_transactions"], TRANSACTIONS),
    **dict.fromkeys(["create_acls", "delete_acls", "describe_acls", "set_sasl_credentials"], RIGHTS),
    **dict.fromkeys(["alter_user_scram_credentials", "describe_user_scram_credentials"], RIGHTS),
    **dict.fromkeys(["elect_leaders", "alter_partition_reassignments"], CLUSTER),
    **dict.fromkeys(["list_partition_reassignments", "alter_replica_log_dirs"], CLUSTER),
    "describe_metadata_quorum": "DescribeQuorum is not served",
    "update_features": "UpdateFeatures is not served",
    "list_config_resources": "ListConfigResources is not served",
    **dict.fromkeys(["metrics", "bootstrap", "bootstrap_connected", "purge", "cluster_id"], INTERNAL),
    "max_usable_produce_magic": INTERNAL,
}
OFFERS = {
    "confluent": (AdminClient, confluent_kafka.Consumer, confluent_kafka.Producer),
    "kafka_python": (kafka.KafkaAdminClient, kafka.KafkaConsumer, kafka.KafkaProducer),
    "aiokafka": (AIOKafkaAdminClient, aiokafka.AIOKafkaConsumer, aiokafka.AIOKafkaProducer),
}


def methods(owner: type) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_") and callable(getattr(owner, name))}


@pytest.mark.parametrize("client", OFFERS)
def test_every_method_has_a_test_or_a_reason(client: str) -> None:
    sources = (HERE / "test_clients.py", HERE / f"test_{client}_features.py")
    used = set(re.findall(r"\.(\w+)\(", "".join(path.read_text() for path in sources)))
    offered = set().union(*(methods(owner) for owner in OFFERS[client]))
    assert offered - used - NOT_FOR_US.keys() == set()


def test_no_reason_has_outlived_its_method() -> None:
    offered = set().union(*(methods(owner) for owners in OFFERS.values() for owner in owners))
    assert NOT_FOR_US.keys() - offered == set()
