"""What is fuzzed: for each target one function from bytes to nothing, that raises where the code breaks its word.

The word is: `ParseError` for text that has not its documented form, `OSError` for files that are not there, `SpecError`
and `Unsupported` for a configuration, and nothing else; a request that wants a reply gets one, any other none; what is
damaged in the run directory counts as not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.fuzz import configs, connections, containers, rundirs, texts, told


@dataclass(frozen=True, slots=True)
class Target:
    """`run` raises whatever is a find; `seeds` are well-formed inputs to start from; `inputs` is how many a short run
    tries, which are two or three seconds of work."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    inputs: int


TARGETS: Mapping[str, Target] = {
    "parsers": Target(texts.parsers, texts.parser_seeds, 50_000),
    "views": Target(texts.views, texts.view_seeds, 10_000),
    "containers": Target(containers.run, containers.seeds, 1_200),
    "requests": Target(connections.decode, connections.request_seeds, 120_000),
    "worker": Target(connections.serve, connections.session_seeds, 3_000),
    "records": Target(rundirs.unpack, rundirs.record_seeds, 12_000),
    "rundir": Target(rundirs.damaged, rundirs.file_seeds, 4_500),
    "config": Target(configs.load, configs.seeds, 9_000),
    "policy": Target(configs.choose, configs.policy_seeds, 35_000),
    "hook": Target(configs.hook, configs.hook_seeds, 90_000),
    "nri": Target(told.nri, told.nri_seeds, 8_000),
    "documents": Target(told.documents, told.document_seeds, 8_000),
}
