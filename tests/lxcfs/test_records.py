"""Records of containers as bytes: they read back, and what is damaged counts as none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import records
from lxcfs_py.cgroup.model import Load, Tasks
from lxcfs_py.records import LoadRecord

word = st.integers(0, 2**32 - 1)
quad = st.integers(0, 2**64 - 1)

load_records = st.builds(
    LoadRecord,
    directory=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    version=st.sampled_from([1, 2]),
    level=st.integers(-1, 32),
    asked=quad,
    sampled=quad,
    load=st.builds(Load, quad, quad, quad),
    tasks=st.builds(Tasks, word, word, word, word),
)


@given(record=load_records)
def test_a_load_record_reads_back(record: LoadRecord) -> None:
    packed = records.pack_load(record)
    assert records.unpack_load(packed) == record
    assert records.split(packed)[0] == record.directory


@given(record=load_records, cut=st.integers(0, 400), junk=st.binary(max_size=20))
def test_a_damaged_load_record_is_none(record: LoadRecord, cut: int, junk: bytes) -> None:
    packed = records.pack_load(record)
    damaged = packed[:cut] + junk
    found = records.unpack_load(damaged)
    assert found is None or records.pack_load(found) == damaged


@given(st.binary())
def test_no_bytes_raise(junk: bytes) -> None:
    records.unpack_load(junk)
    records.split(junk)


@given(directory=st.text(st.characters(exclude_categories=["Cs"]), max_size=300), processes=word, ledger=st.binary())
def test_a_ledger_reads_back(directory: str, processes: int, ledger: bytes) -> None:
    packed = records.pack_ledger(directory, processes, ledger)
    assert records.unpack_ledger(packed) == (processes, ledger)
    assert records.split(packed)[0] == directory


def test_no_record_is_none() -> None:
    assert records.unpack_load(None) is None
    assert records.split(b"") == ("", b"")
    assert records.unpack_ledger(None) == (0, None)
