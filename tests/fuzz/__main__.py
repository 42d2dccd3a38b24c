"""Fuzz for long, and keep what was found worth keeping."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz import corpus, engine
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="for each target (default: 60)")
    parser.add_argument("--keep", action="store_true", help="add what reached something new to tests/fuzz/corpus")
    parser.add_argument("target", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    options = parser.parse_args()
    unknown = [name for name in options.target if name not in TARGETS]
    if unknown:
        parser.error(f"no such target: {unknown[0]} (they are {', '.join(TARGETS)})")
    failed = [name for name in options.target or TARGETS if not _fuzz(name, options.seconds, keep=options.keep)]
    return 1 if failed else 0


def _fuzz(name: str, seconds: int, *, keep: bool) -> bool:
    target = TARGETS[name]
    outcome = engine.run(name, target, engine.Extent(seconds=seconds))
    print(f"{name}: {outcome.executions} executions, {len(outcome.inputs)} new inputs", flush=True)
    if outcome.failure is not None:
        print(outcome.failure)
    if keep:
        inputs = [*corpus.read(name), *outcome.inputs]
        corpus.write(name, corpus.minimised(engine.tidily(target.run), target.seeds(), inputs))
    return outcome.failure is None


if __name__ == "__main__":
    sys.exit(main())
