"""The real outside: disk, sockets, clock, chance, metadata store. Only node.py and tests choose among these."""
