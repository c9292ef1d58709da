"""The system's randomness."""

import secrets
import uuid


class SystemEntropy:
    def uuid(self) -> bytes:
        return uuid.uuid4().bytes

    def below(self, limit: int) -> int:
        return secrets.randbelow(limit)
