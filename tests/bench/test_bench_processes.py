"""What the kernel tells of processes."""

import os
import subprocess
import sys
import time

from bench import processes

SLEEPING_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; print(1, flush=True); sys.stdin.read()'])"


def test_the_children_of_a_process_count_with_it_and_what_has_ended_counts_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPING_CHILD], stdin=-1, stdout=-1) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == b"1\n"
        pids = processes.with_descendants(parent.pid)
        assert len(pids) == 2 and pids[0] == parent.pid
        assert processes.cpu_us(pids) > processes.cpu_us(pids[:1]) > 0
        assert all(processes.resident_bytes(pid) > 1 << 20 for pid in pids)
        parent.communicate(b"")
    assert processes.cpu_us(pids) == 0


def test_a_process_at_work_leaves_at_most_the_other_cores_idle() -> None:
    with processes.idle_cores() as idle:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
    assert 0 <= idle.cores <= (os.cpu_count() or 1)
