"""What is fuzzed: for each target one function from bytes to nothing, that raises where the code breaks its word.

The word is: `ParseError` for text that has not its documented form, `OSError` for files that are not there, `SpecError`
and `Unsupported` for a configuration, and nothing else; a request that wants a reply gets one, any other none; what is
damaged in the run directory counts as not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.fuzz import configs, connections, containers, rundirs, texts


@dataclass(frozen=True, slots=True)
class Target:
    """`run` raises whatever is a find; `seeds` are well-formed inputs to start from."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


TARGETS: Mapping[str, Target] = {
    "parsers": Target(texts.parsers, texts.parser_seeds),
    "views": Target(texts.views, texts.view_seeds),
    "containers": Target(containers.run, containers.seeds),
    "requests": Target(connections.decode, connections.request_seeds),
    "worker": Target(connections.serve, connections.session_seeds),
    "records": Target(rundirs.unpack, rundirs.record_seeds),
    "rundir": Target(rundirs.damaged, rundirs.file_seeds),
    "config": Target(configs.load, configs.seeds),
    "policy": Target(configs.choose, configs.policy_seeds),
    "hook": Target(configs.hook, configs.hook_seeds),
}
