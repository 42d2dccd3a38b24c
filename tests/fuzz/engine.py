"""The engines: atheris (coverage-guided, a process for each target) where it installs, else hypothesis.

`python -m tests.fuzz.engine TARGET FOLDER OPTION...` is that process: it must import the code under atheris, so
nothing here imports a target before. A run takes so many seconds and is another one each time, or so many inputs and is
the same each time.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from tests.fuzz import corpus

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

ROOT = Path(__file__).parents[2]
_SEED = "1"
_EXAMPLES_PER_SECOND = 50
_EXAMPLES = 300
"""Of hypothesis, where the inputs are counted: it sees no coverage, so more of them find little."""
_LONGEST = 4096
"""Bytes of one input."""
_MOST_OPEN = 64
"""Descriptors that a target leaves open at most."""


class Extent(NamedTuple):
    """How long a run is, by one of the two."""

    seconds: int = 0
    inputs: int = 0
    """So many are tried, the same ones each time."""


class Outcome(NamedTuple):
    """What a run gave."""

    executions: int
    failure: str | None
    """The traceback and the input, None where nothing was found."""
    inputs: tuple[bytes, ...] = ()
    """Those that reached something new, as the engine sees it."""


def has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def run(name: str, target: Target, extent: Extent) -> Outcome:
    """Run a target of the table for so long, from its seeds and what is kept for it."""
    seeds = [*target.seeds(), *corpus.read(name)]
    if has_atheris():
        return fuzz(name, extent, seeds)
    return try_with_hypothesis(tidily(target.run), extent, seeds)


def fuzz(target: str, extent: Extent, seeds: Sequence[bytes]) -> Outcome:
    """Run a target of the table, or MODULE:FUNCTION, for so long with atheris; `seeds` is what to begin with."""
    folder = Path(tempfile.mkdtemp(prefix="lxcfs-py-fuzz-"))
    try:
        inputs = folder / "inputs"
        inputs.mkdir()
        begins, options = _begins(extent)
        options += [f"-seed_inputs=@{_files(folder / 'seeds', seeds)}"]
        command = [*begins, sys.executable, "-m", "tests.fuzz.engine", target, str(folder), *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
        finds = [path for path in sorted(folder.glob("*-*")) if path.is_file()]
        found = sorted(inputs.iterdir())
        counted = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        return Outcome(
            int(counted[1]) if counted else 0, _failure(done, finds), tuple(path.read_bytes() for path in found)
        )
    finally:
        shutil.rmtree(folder)


def _begins(extent: Extent) -> tuple[list[str], list[str]]:
    """What goes before the program, and its options. To be the same each time it takes a seed for the engine and one
    for Python's hashes, no look at the clock, no compiled modules that are there or not, and no addresses that are
    random or depend on the environment: the engine's counters go by them."""
    if not extent.inputs:
        return [], [f"-max_total_time={extent.seconds}"]
    alone = ["env", "--ignore-environment", f"PYTHONHASHSEED={_SEED}", "PYTHONPYCACHEPREFIX=/dev/null/none"]
    alone += ["setarch", "--addr-no-randomize"]
    return alone, [f"-runs={extent.inputs}", f"-seed={_SEED}", "-reload=0"]


def _files(folder: Path, seeds: Sequence[bytes]) -> Path:
    """A list of files, in order: the order in which a folder has them is another one each time."""
    folder.mkdir()
    paths = [folder / str(number) for number in range(len(seeds))]
    for path, data in zip(paths, seeds, strict=True):
        path.write_bytes(data)
    listing = folder / "list"
    listing.write_text(",".join(map(str, paths)))
    return listing


def _failure(done: subprocess.CompletedProcess[str], finds: Sequence[Path]) -> str | None:
    if done.returncode == 0:
        return None
    inputs = [f"{path.name}: {path.read_bytes()!r}" for path in finds]
    said = [line for line in done.stderr.splitlines() if not line.startswith(("#", "INFO:", "stat::", "WARNING:"))]
    return "\n".join([done.stdout, *said, *inputs])


def try_with_hypothesis(run: Callable[[bytes], None], extent: Extent, seeds: Sequence[bytes]) -> Outcome:
    """The same without coverage: seeds changed at some places, and any bytes."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    count = 0
    edits = st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=8), st.integers(0, 8)), max_size=6)

    most = extent.seconds * _EXAMPLES_PER_SECOND or min(extent.inputs, _EXAMPLES)
    same = extent.inputs > 0

    @settings(
        max_examples=most, derandomize=same, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(seeds), edits)
    def examples(seed: bytes, changes: list[tuple[int, bytes, int]]) -> None:
        nonlocal count
        count += 1
        for place, new, old in changes:
            at = place % (len(seed) + 1)
            seed = seed[:at] + new + seed[at + old :]
        run(seed)

    failure = None
    try:
        examples()
    except Exception as error:
        failure = "\n".join([repr(error), *getattr(error, "__notes__", ())])
    return Outcome(count, failure)


def tidily(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Closes what a target leaves open: the code's own processes end with their files, a fuzzer's does not. What is
    open now stays so."""
    ours = sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}"))
    between = [(low + 1, high) for low, high in pairwise((*ours, ours[-1] + _MOST_OPEN))]

    def tidy(data: bytes) -> None:
        try:
            run(data)
        finally:
            gc.collect()  # mappings close descriptors of their own
            for first, end in between:
                os.closerange(first, end)

    return tidy


def _named(target: str) -> Callable[[bytes], None]:
    module, _, name = target.partition(":")
    if name:
        return cast(Callable[[bytes], None], getattr(importlib.import_module(module), name))
    from tests.fuzz.targets import TARGETS

    return TARGETS[target].run


def main(target: str, folder: str, *extent: str) -> None:
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["lxcfs_exporter", "lxcfs_py", "pyrun"]):
        run = _named(target)
    options = [*extent, f"-max_len={_LONGEST}", f"-artifact_prefix={folder}/"]
    options += ["-print_final_stats=1", "-timeout=20", "-rss_limit_mb=1500", "-reduce_inputs=1"]
    gc.collect()
    gc.freeze()
    atheris.Setup([sys.argv[0], f"{folder}/inputs", *options], tidily(run))
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
