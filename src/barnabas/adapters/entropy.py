"""The system's randomness."""

import os
import secrets


class SystemEntropy:
    def uuid(self) -> bytes:
        """RFC 9562, version 4. The class of the standard library takes ten times as long."""
        content = bytearray(os.urandom(16))
        content[6] = content[6] & 0x0F | 0x40
        content[8] = content[8] & 0x3F | 0x80
        return bytes(content)

    def below(self, limit: int) -> int:
        return secrets.randbelow(limit)
