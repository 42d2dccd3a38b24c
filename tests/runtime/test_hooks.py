"""How one hook runs: what it is given, and what is said where it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from lxcfs_py.errors import Error
from pyrun import hooks
from pyrun.spec import Hook, Hooks


def script(path: Path, text: str) -> Hook:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Hook(str(path), ("zeroth", "first"), ("PATH=/usr/bin:/bin", "WORD=a=b", "odd"))


def test_a_hook_gets_its_arguments_its_environment_and_the_state(tmp_path: Path) -> None:
    hook = script(tmp_path / "hook", f'echo "$1 $WORD $(cat)" > {tmp_path}/said')
    hooks.run_all("prestart", [hook], b"state")
    assert (tmp_path / "said").read_text() == "first a=b state\n"


def test_hooks_run_in_order_and_stop_at_the_first_that_fails(tmp_path: Path) -> None:
    texts = ("echo 1 >> said", "echo 2 >> said; echo why >&2; exit 4", "echo 3 >> said")
    made = [script(tmp_path / f"hook{number}", f"cd {tmp_path}; {text}") for number, text in enumerate(texts)]
    with pytest.raises(Error, match=r"hooks\.poststart\[1\] .*/hook1: exited with 4: why"):
        hooks.run_all("poststart", made, b"")
    assert (tmp_path / "said").read_text().split() == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "timeout", "words"),
    [
        ("echo why >&2; echo hint: do >&2; exit 1", None, "exited with 1: why$"),
        ("kill -9 $$", None, "was killed by signal 9"),
        ("exec sleep 60", 1, "did not end within 1 s"),
    ],
)
def test_how_a_hook_failed_is_said(tmp_path: Path, text: str, timeout: int | None, words: str) -> None:
    with pytest.raises(Error, match=words):
        hooks.run_all("prestart", [script(tmp_path / "hook", text)._replace(timeout=timeout)], b"")


def test_a_hook_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        hooks.run_all("prestart", [Hook("/no/such/hook")], b"")
    assert caught.value.__notes__ == ["while running hooks.prestart[0] /no/such/hook"]


def test_a_hook_that_does_not_read_the_state_is_no_failure(tmp_path: Path) -> None:
    hooks.run_all("prestart", [script(tmp_path / "hook", "exit 0")], b"x" * (1 << 20))


def test_every_kind_has_its_field() -> None:
    kinds = [Hook(f"/{field}") for field in Hooks._fields]
    made = Hooks(*((hook,) for hook in kinds))
    assert [found(made) for found in hooks.KINDS.values()] == [(hook,) for hook in kinds]
