"""Hooks of an OCI bundle: programs that get the container's state on standard input (runtime-spec config.md, Hooks).

When which kind runs, and in whose namespaces, is `container`'s and `init`'s; here is how one runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lxcfs_py.errors import Error, describe
from pyrun.spec import Hook, Hooks

KINDS: dict[str, Callable[[Hooks], tuple[Hook, ...]]] = {
    "prestart": lambda hooks: hooks.prestart,
    "createRuntime": lambda hooks: hooks.create_runtime,
    "createContainer": lambda hooks: hooks.create_container,
    "startContainer": lambda hooks: hooks.start_container,
    "poststart": lambda hooks: hooks.poststart,
    "poststop": lambda hooks: hooks.poststop,
}
"""By config.json's names."""


def run_all(kind: str, hooks: Iterable[Hook], state: bytes) -> None:
    """Run hooks in their order; Error at the first that fails."""
    for index, hook in enumerate(hooks):
        _run(f"hooks.{kind}[{index}] {hook.path}", hook, state)


def run_each(kind: str, hooks: Iterable[Hook], state: bytes) -> tuple[str, ...]:
    """Run hooks in their order, whichever of them fail; what there is to log of those."""
    failed = []
    for index, hook in enumerate(hooks):
        try:
            _run(f"hooks.{kind}[{index}] {hook.path}", hook, state)
        except (Error, OSError) as error:
            failed.append(describe(error)[0])
    return tuple(failed)


def _run(name: str, hook: Hook, state: bytes) -> None:
    import subprocess

    environment = dict(variable.split("=", 1) for variable in hook.env if "=" in variable)
    try:
        done = subprocess.run(
            hook.args or (hook.path,),
            executable=hook.path,
            env=environment,
            input=state,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=hook.timeout,
        )
    except subprocess.TimeoutExpired:
        raise Error(f"{name}: did not end within {hook.timeout} s") from None
    except OSError as error:
        error.add_note(f"while running {name}")
        raise
    if done.returncode:
        how = f"exited with {done.returncode}" if done.returncode > 0 else f"was killed by signal {-done.returncode}"
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = [line for line in lines if not line.startswith("hint: ")][-1:]
        raise Error(f"{name}: {how}" + "".join(f": {line}" for line in said))
