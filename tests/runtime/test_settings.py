"""pyrun.toml: what is set for all containers, and how a wrong file is told of."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lxcfs_py.errors import ParseError
from pyrun import cli, settings
from pyrun.arguments import Parsed

WHOLE = b"""\
# For all containers.
lxcfs = true   # here too

lxcfs-mount="/srv/a # b"
\tlxcfs-run-dir = 'C:\\x'
"""


def test_a_file_is_read_with_its_comments_and_quotes() -> None:
    assert settings.parse("f", WHOLE) == {"lxcfs": True, "lxcfs-mount": "/srv/a # b", "lxcfs-run-dir": "C:\\x"}
    assert settings.parse("f", WHOLE) == tomllib.loads(WHOLE.decode())


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (b"lxcfs = true\nlxcfs", 2, 'must be as `lxcfs = true`, not "lxcfs"'),
        (b"lxcfs = yes", 1, "lxcfs must be true or false, not yes"),
        (b"lxcfs =", 1, "lxcfs must be true or false, not nothing"),
        (b'lxcfs = "true"', 1, 'lxcfs must be true or false, not "true"'),
        (b"lxcfs = true\n\nlxcfs = false", 3, "lxcfs is there twice"),
        (b"lxcsf = true", 1, '"lxcsf" is none of lxcfs, lxcfs-mount, lxcfs-run-dir'),
        (b"[default]", 1, 'must be as `lxcfs = true`, not "[default]"'),
        (b"lxcfs-mount = /srv", 1, 'lxcfs-mount must be a text in quotes, as "/var/lib/lxcfs-py", not /srv'),
        (b'lxcfs-mount = "/srv', 1, "lxcfs-mount must be a text in quotes"),
        (b'lxcfs-mount = ""', 1, "lxcfs-mount must be a text in quotes"),
        (b'lxcfs-mount = "/a" "/b"', 1, "lxcfs-mount must be a text in quotes"),
        (b'lxcfs-mount = "\\u0041"', 1, "lxcfs-mount: a text with a backslash must be in single quotes"),
        (b"lxcfs = true # \x01", 1, "has a control character in it"),
        (b"# \xff", None, "is not UTF-8"),
    ],
)
def test_a_fault_is_told_by_its_line(text: bytes, line: int | None, why: str) -> None:
    with pytest.raises(ParseError) as caught:
        settings.parse("/etc/x.toml", text)
    assert caught.value.line == line
    assert why in caught.value.message


PIECES = [
    "lxcfs",
    "lxcfs-mount",
    "=",
    "true",
    "false",
    '"',
    "'",
    "/a",
    "#",
    " ",
    "\t",
    "\n",
    "\r",
    "\\",
    "\x00",
    "é",
    '"""',
]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
@example("lxcfs=true\r\nlxcfs-mount='\"'")
@example('lxcfs-mount="""/a"""')
def test_what_is_taken_is_toml_and_means_the_same(text: str) -> None:
    try:
        found = settings.parse("f", text.encode())
    except ParseError:
        return
    assert found == tomllib.loads(text)


def test_the_command_line_goes_before_the_settings() -> None:
    given = Parsed({"--lxcfs-mount": "/mine", "--log": "x"}, ("run",))
    made = settings.under(given, {"lxcfs": True, "lxcfs-mount": "/theirs"})
    assert dict(made.values) == {"--lxcfs": "", "--lxcfs-mount": "/mine", "--log": "x"}
    assert not settings.under(given, {"lxcfs": False}).has("--lxcfs")


def test_every_setting_is_an_option() -> None:
    takes = {option.key.removeprefix("--"): option.takes for option in cli.GLOBAL}
    assert all(takes[key] == "" for key in settings.SWITCHES)
    assert all(takes[key] for key in settings.TEXTS)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "rootfs").mkdir()
    assert cli.main(["spec", "--bundle", str(tmp_path)]) == 0
    return tmp_path


def asked(bundle: Path, text: str, **annotations: str) -> list[str]:
    """A dry run under settings that name a daemon which is not there: asking for its files is an error."""
    file = bundle / "pyrun.toml"
    file.write_text(f'lxcfs-mount = "{bundle}/none"\n{text}\n')
    config = json.loads((bundle / "config.json").read_text())
    config["annotations"] = annotations
    (bundle / "config.json").write_text(json.dumps(config))
    return ["--config", str(file), "create", "--dry-run", "--bundle", str(bundle), "x"]


@pytest.mark.parametrize(
    ("text", "annotations", "wanted"),
    [
        ("", {}, False),
        ("lxcfs = true", {}, True),
        ("lxcfs = true", {"org.lxcfs": "false"}, False),
        ("lxcfs = false", {"org.lxcfs": "true"}, True),
    ],
)
def test_a_container_has_the_virtual_files_by_the_settings_unless_its_annotation_says_otherwise(
    bundle: Path, capsys: pytest.CaptureFixture[str], text: str, annotations: dict[str, str], wanted: bool
) -> None:
    status = cli.main(asked(bundle, text, **annotations))
    said = capsys.readouterr().err
    assert (status, said) == (0, "") if not wanted else status == 1 and f"no lxcfs-py serves at {bundle}/none" in said


def test_the_option_asks_for_them_too_and_the_annotation_goes_before_it(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--lxcfs", *asked(bundle, "lxcfs = false")]) == 1
    assert f"no lxcfs-py serves at {bundle}/none" in capsys.readouterr().err
    assert cli.main(["--lxcfs", *asked(bundle, "lxcfs = false", **{"org.lxcfs": "false"})]) == 0


def test_wrong_settings_are_one_line_and_make_nothing(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = bundle / "state"
    assert cli.main(["--root", str(root), *asked(bundle, "lxcfs = maybe")]) == 1
    assert capsys.readouterr().err == f"pyrun: {bundle}/pyrun.toml:2: lxcfs must be true or false, not maybe\n"
    assert cli.main(["--config", f"{bundle}/missing", "create", "--bundle", str(bundle), "x"]) == 1
    assert capsys.readouterr().err == f"pyrun: {bundle}/missing: no such file or directory\n"
    assert not root.exists()


def test_what_is_asked_of_a_container_that_exists_needs_no_settings(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--root", f"{bundle}/state", "--config", f"{bundle}/missing", "list", "-q"]) == 0
    assert capsys.readouterr().err == ""
