"""The system's two clocks."""

import time


class SystemClock:
    """wall_ms may step, mono_ms never goes back (and counts on while no one looks)."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def mono_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def mono_us(self) -> int:
        return time.monotonic_ns() // 1_000
