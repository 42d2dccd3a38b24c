"""LXCFS's command line is taken whole: every flag of 5.0 to 7.0 is one of ours or told to be of no use any more."""

from __future__ import annotations

import argparse

import pytest

from lxcfs_py import cli, dropin
from lxcfs_py.dropin import FLAGS

FIVE = "-d --debug -f --foreground -l --enable-loadavg -u --disable-swap --enable-cfs --enable-pidfd -s"
SIX = f"{FIVE} --enable-cgroup"
SEVEN = f"{FIVE} --enable-psi-poll --disable-zswap"
VALUES = ["-o allow_other", "-oallow_other", "-p /p", "--pidfile /p", "--pidfile=/p", "--runtime-dir=/r"]


def parse(*words: str) -> argparse.Namespace:
    return cli.make_parser().parse_args(["serve", *words])


@pytest.mark.parametrize("line", [FIVE, SIX, SEVEN, *FIVE.split(), *SIX.split(), *SEVEN.split(), *VALUES])
def test_every_flag_that_an_lxcfs_has_is_taken(line: str) -> None:
    assert parse(*line.split(), "/var/lib/lxcfs").mount == "/var/lib/lxcfs"


def test_flags_of_a_letter_may_be_written_together() -> None:
    options = parse("-lfu", "-s", "/var/lib/lxcfs")
    assert (options.loadavg, options.swap, options.obsolete) == (True, False, ["--foreground", "-s"])


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if not flag.obsolete], ids=lambda flag: flag.names[-1])
def test_a_flag_that_means_something_is_an_option_of_ours(flag: dropin.Flag) -> None:
    for name in flag.names:
        assert getattr(parse(name), flag.option) == flag.value
    ours = flag.what.removeprefix("the same as ").partition(",")[0].split()
    assert vars(parse(*ours)) == vars(parse(flag.names[0])), "as its help says"
    assert not dropin.say(parse(flag.names[0]).obsolete)


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.obsolete], ids=lambda flag: flag.names[-1])
def test_a_flag_of_no_use_is_told_once_by_its_long_name_with_the_reason(flag: dropin.Flag) -> None:
    given = parse(*flag.names, flag.names[0]).obsolete
    assert dropin.say(given) == [(flag.names[-1], flag.what)]
    assert {**vars(parse(*flag.names)), "obsolete": []} == vars(parse())


def test_the_last_word_on_an_option_counts() -> None:
    assert parse("-u", "--swap").swap is True
    assert parse("--swap", "-u").swap is False
    assert parse("--enable-cfs", "--cpus", "cpuset").cpus == "cpuset"


def test_the_runtime_directory_holds_what_lxcfs_has_there() -> None:
    options = parse("--runtime-dir", "/r")
    assert (options.run_dir, options.pidfile) == ("/r/lxcfs-py", "/r/lxcfs.pid")
    for words in (["-p", "/p", "--runtime-dir", "/r"], ["--runtime-dir", "/r", "-p", "/p"]):
        assert (parse(*words).run_dir, parse(*words).pidfile) == ("/r/lxcfs-py", "/p")
    assert parse("--runtime-dir", "/r", "--run-dir", "/own").run_dir == "/own"
    assert (parse().run_dir, parse().pidfile) == (cli.RUN_DIR, None)


def test_help_has_a_group_of_them() -> None:
    text = " ".join(cli.make_parser().format_help().split())
    assert "serve" in text
    group = next(group for group in _serve()._action_groups if group.title == "LXCFS's own flags")
    names = {name for action in group._group_actions for name in action.option_strings}
    assert {name for flag in FLAGS for name in flag.names} | {"-o", "-p", "--pidfile", "--runtime-dir", "-v"} == names


def _serve() -> argparse.ArgumentParser:
    (choices,) = (action.choices for action in cli.make_parser()._actions if isinstance(action.choices, dict))
    found: argparse.ArgumentParser = choices["serve"]
    return found
