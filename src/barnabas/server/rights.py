"""Authorized operations as bit fields (KIP-430). Without an authorizer everybody may do what a resource knows.

Bit n stands for operation n of the ACL operations: READ 3, WRITE 4, CREATE 5, DELETE 6, ALTER 7, DESCRIBE 8,
CLUSTER_ACTION 9, DESCRIBE_CONFIGS 10, ALTER_CONFIGS 11, IDEMPOTENT_WRITE 12.
"""

from typing import Final


def bits(*operations: int) -> int:
    return sum(1 << operation for operation in operations)


TOPIC_OPERATIONS: Final = bits(3, 4, 5, 6, 7, 8, 10, 11)
GROUP_OPERATIONS: Final = bits(3, 6, 8, 10, 11)
CLUSTER_OPERATIONS: Final = bits(5, 7, 8, 9, 10, 11, 12)
