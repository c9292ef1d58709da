"""A sample goes to the system call it was in, or to the library that ran."""

import shutil
import socket
from pathlib import Path

import pytest
from bench.drive import drive
from bench.floor import floor
from bench.load import Limits, Load
from bench.where import (
    FRAME,
    OTHER_CALLS,
    OTHER_CODE,
    OTHER_KERNEL,
    floor_commands,
    floors_of,
    samples,
    shares,
    step_of,
    table,
)

from bench import page

SCRIPT = """

\t          158b9c PyObject_Vectorcall (/usr/lib/libpython3.11.so.1.0)
\t               0 [unknown] ([unknown])


\tffffffff8201d92c tcp_rearm_rto+0x1c ([kernel.kallsyms])
\tffffffff81e2fcfb __sys_sendmsg ([kernel.kallsyms])
\tffffffff821ed511 do_syscall_64 ([kernel.kallsyms])
\tffffffff81000130 entry_SYSCALL_64_after_hwframe ([kernel.kallsyms])
\t          10ac4d __libc_sendmsg (/usr/lib/libc.so.6)

\tffffffff81000130 asm_exc_page_fault ([kernel.kallsyms])
\t          10ac4d memcpy (/usr/lib/libc.so.6)

\t          10ac4e operator() (const char*) (/site-packages/barnabas__mypyc.so)
"""


def in_call(name: str) -> list[tuple[str, str]]:
    kernel = "[kernel.kallsyms]"
    return [("work", kernel), (name, kernel), ("do_syscall_64", kernel), ("write", "/lib/libc.so.6")]


def test_stacks_are_read_one_by_one_and_a_symbol_may_hold_spaces() -> None:
    stacks = list(samples(SCRIPT.splitlines()))
    assert [len(stack) for stack in stacks] == [2, 5, 2, 1]
    assert stacks[1][0] == ("tcp_rearm_rto", "[kernel.kallsyms]")
    assert stacks[3] == [("operator() (const char*)", "/site-packages/barnabas__mypyc.so")]
    assert FRAME.match("no frame") is None


def test_shares_are_of_all_samples() -> None:
    found = shares(SCRIPT.splitlines())
    assert found == {
        "Python interpreter": 0.25,
        "kernel: send answers": 0.25,
        OTHER_KERNEL: 0.25,
        "compiled modules of Barnabas": 0.25,
    }


@pytest.mark.parametrize(
    ("called", "step"),
    [
        ("__x64_sys_sendfile64", "kernel: file to socket (sendfile)"),
        ("__x64_sys_recvfrom", "kernel: receive requests"),
        ("do_writev", "kernel: write the log"),
        ("__x64_sys_pwritev2", "kernel: write the log"),
        ("__x64_sys_io_submit", "kernel: write the log"),
        ("__x64_sys_preadv2", "kernel: read the log and wake-ups"),
        ("__x64_sys_epoll_pwait", "kernel: wait for sockets"),
        ("__x64_sys_fdatasync", "kernel: sync"),
        ("__x64_sys_futex", "kernel: threads"),
        ("exit_to_user_mode_loop", "kernel: scheduling on the way back"),
        ("__x64_sys_getpid", OTHER_CALLS),
    ],
)
def test_a_system_call_has_its_step(called: str, step: str) -> None:
    assert step_of(in_call(called)) == step


@pytest.mark.parametrize(
    ("library", "step"),
    [
        (
            "/venv/lib/python3.11/site-packages/barnabas/log/index.cpython-311.so",
            "compiled modules of Barnabas",
        ),
        ("/venv/lib/python3.11/site-packages/fastcrc/fastcrc.so", "CRC32C"),
        ("/usr/bin/python3.11", "Python interpreter"),
        ("/usr/lib/libc.so.6", "libc: memory and copies"),
        ("/usr/lib/libssl.so.3", OTHER_CODE),
    ],
)
def test_code_outside_the_kernel_is_of_its_library(library: str, step: str) -> None:
    assert step_of([("anything", library)]) == step


def test_the_table_holds_all_microseconds_and_small_steps_go_together() -> None:
    measured = {"one": (10.0, {"big": 0.992, "a": 0.004, "b": 0.004}), "two": (20.0, {"big": 1.0})}
    content = table(measured, "how")
    assert list(content["steps"]) == ["big", "the rest"]
    assert content["steps"]["big"] == [pytest.approx(9.92), 20.0]
    assert content["steps"]["the rest"] == [pytest.approx(0.08), 0.0]
    text = page.steps_table(content)
    assert "| big | 9.92 | 20.00 |" in text and "| **all** | **10.00** | **20.00** |" in text
    assert "requests/s" not in text


def test_the_table_shows_what_no_broker_can_leave_out() -> None:
    floors = [{"the kernel": (7.0, 140_000.0)}, {"the kernel": (8.5, 117_000.0)}]
    content = table({"one": (10.0, {"big": 1.0}), "two": (20.0, {"big": 1.0})}, "how", floors)
    text = page.steps_table(content)
    assert "| the kernel | 7.00 | 8.50 |" in text and "| … requests/s of it | 140,000 | 117,000 |" in text


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("number", [0, 1], ids=["kernel", "cpython"])
@pytest.mark.parametrize(("in_flight", "fetched_bytes"), [(1, 1100), (1, 64 << 10), (1, 1 << 20), (3, 0)])
def test_a_floor_answers_every_request_with_as_many_bytes(
    tmp_path: Path, number: int, in_flight: int, fetched_bytes: int
) -> None:
    request = (2000).to_bytes(4, "big") + bytes(2000)
    command = list(floor_commands(None).values())[number]
    with floor(command, tmp_path, fetched_bytes) as target:
        taken = drive(target, Load([request, request * 2], in_flight), Limits(requests=200))
    assert taken.requests == 200
    assert taken.answer_bytes == 200 * (96 + fetched_bytes)
    assert not list(tmp_path.iterdir())


def test_a_floor_has_the_load_of_a_broker_for_itself(tmp_path: Path) -> None:
    """Whose ports it names, and whose error codes."""
    request = (2000).to_bytes(4, "big") + bytes(2000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        load = Load([request], 1, codes=(4,), ports=[taken.getsockname()[1]])
        found = floors_of(floor_commands(None), load, 1100, 0.1, tmp_path)
    assert found and all(cpu_us > 0 and rate > 0 for cpu_us, rate in found.values())
