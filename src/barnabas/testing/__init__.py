"""A world that a test owns: virtual time, a disk that forgets, a network that cuts. One seed, one history.

Rules that keep it so: no threads, no sockets, no clock of the system; no set decides an order; every choice comes from
the one seeded generator; every failure names its seed.
"""
