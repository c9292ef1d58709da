"""The file in memory against a plain bytearray, under any sequence of operations."""

from hypothesis import given
from hypothesis import strategies as st

from barnabas.adapters.ram_files import RamFile, RamFiles

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.binary(max_size=9), max_size=4)),
        st.tuples(st.just("write"), st.tuples(st.integers(0, 60), st.binary(max_size=9))),
        st.tuples(st.just("truncate"), st.integers(0, 60)),
    ),
    max_size=25,
)


@given(OPERATIONS)
def test_it_behaves_as_an_array_of_bytes(operations: list[tuple[str, object]]) -> None:
    file, model = RamFile("x"), bytearray()
    for name, argument in operations:
        if name == "append":
            assert isinstance(argument, list)
            file.write(file.size(), argument)
            model += b"".join(argument)
        elif name == "write":
            assert isinstance(argument, tuple)
            position, content = argument
            file.write(position, [content])
            if content:
                model.extend(bytes(max(0, position - len(model))))
                model[position : position + len(content)] = content
        else:
            assert isinstance(argument, int)
            file.truncate(argument)
            model.extend(bytes(max(0, argument - len(model))))
            del model[argument:]
        assert file.size() == len(model)
        for start in range(0, len(model) + 2, 5):
            assert file.read(start, 7) == model[start : start + 7]
    assert file.read(0, 10_000) == model


def test_a_chunk_read_whole_is_not_copied() -> None:
    file = RamFile("x")
    first, second = bytes(1000), b"y" * 1000
    file.write(0, [first])
    file.write(1000, [second])
    assert file.read(1000, 1000) is second
    assert file.read(1000, 5000) is second
    assert file.read(0, 1000) is first


def test_used_bytes_follow_every_change() -> None:
    files = RamFiles(capacity_bytes=100)
    files.make_folder("/a")
    file = files.open("/a/x", create=True)
    file.write(0, [bytes(60)])
    files.write_atomic("/a/y", bytes(10))
    assert (files.used_bytes(), files.free_bytes("/a")) == (70, 30)
    assert files.total_bytes("/a") == 100
    file.truncate(5)
    files.unlink("/a/y")
    assert files.used_bytes() == 5
