"""How bytes become messages and messages bytes. No sockets, no clock: bytes in, objects out."""
