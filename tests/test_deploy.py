"""The files of deploy/ name what there is: every virtual file, the default mount, our own commands and options."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lxcfs_exporter import cli as exporter_cli
from lxcfs_exporter import webconfig
from lxcfs_py import cli, policy, service
from lxcfs_py.views.sysfs import SUBTREES
from lxcfs_py.views.table import VIEWS
from pyrun import arguments, settings
from pyrun import cli as pyrun_cli

DEPLOY = Path(__file__).parents[1] / "deploy"
PATHS = {view.path for view in VIEWS if view.path.startswith("proc/")} | {subtree.root for subtree in SUBTREES}
PRESSURE = {path for path in PATHS if path.startswith("proc/pressure/")}
"""Written to by those who want to be woken, so bound for writing."""
RUNC_REFUSES = {"proc/partitions", "proc/vmstat"} | PRESSURE
"""runc mounts nothing below /proc but what is on a list of its own."""


def lxc() -> list[tuple[str, str]]:
    lines = (DEPLOY / "lxc/lxcfs-py.conf").read_text().splitlines()
    words = [line.split() for line in lines if line.startswith("lxc.mount.entry = ")]
    for _, _, source, _, *rest in words:
        writable = source.removeprefix(f"{cli.MOUNT}/") in PRESSURE
        assert rest == ["none", "bind,optional" if writable else "bind,ro,optional", "0", "0"]
    return [(entry[2], f"/{entry[3]}") for entry in words]


def volumes(lines: list[str]) -> list[tuple[str, str]]:
    parts = [line.split(":") for line in lines]
    assert {mode for _, _, mode in parts} == {"ro"}
    return [(source, target) for source, target, _ in parts]


def podman() -> list[tuple[str, str]]:
    return volumes(tomllib.loads((DEPLOY / "podman/lxcfs-py.conf").read_text())["containers"]["volumes"])


def docker() -> list[tuple[str, str]]:
    return volumes(re.findall(r"^    - (/.*)$", (DEPLOY / "docker/compose.yaml").read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("read", "paths"), [(lxc, PATHS), (podman, PATHS - RUNC_REFUSES), (docker, PATHS - RUNC_REFUSES)]
)
def test_every_virtual_file_is_bound_over_its_own_path(
    read: Callable[[], list[tuple[str, str]]], paths: set[str]
) -> None:
    assert sorted(read()) == [(f"{cli.MOUNT}/{path}", f"/{path}") for path in sorted(paths)]


def test_the_service_manager_and_the_daemon_agree_on_when_it_is_killed_for_want_of_memory() -> None:
    unit = (DEPLOY / "systemd/lxcfs-py.service").read_text()
    assert re.findall(r"^OOMScoreAdjust=(.*)$", unit, re.MULTILINE) == [str(service.OOM_SCORE_ADJ)]


def test_the_service_starts_a_command_that_our_parser_takes() -> None:
    unit = (DEPLOY / "systemd/lxcfs-py.service").read_text()
    (words,) = re.findall(r"^ExecStart=/opt/lxcfs-py/bin/lxcfs-py (.*)$", unit, re.MULTILINE)
    options = cli.make_parser().parse_args(words.split())
    assert (options.mount, options.run_dir) == (cli.MOUNT, cli.RUN_DIR)
    assert f"StateDirectory={cli.MOUNT.removeprefix('/var/lib/')}\n" in unit
    assert f"RuntimeDirectory={cli.RUN_DIR.removeprefix('/run/')}\n" in unit


def test_the_exporter_is_started_by_words_that_it_takes_and_scraped_where_it_listens() -> None:
    unit = (DEPLOY / "systemd/lxcfs-exporter.service").read_text()
    assert re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE) == ["/opt/lxcfs-py/bin/lxcfs-exporter $ARGS"]
    by_socket = (DEPLOY / "systemd/lxcfs-exporter.socket").read_text()
    offered = re.findall(r'ARGS="(.*?)"', unit + by_socket)
    assert offered == ["--web.config.file /etc/lxcfs-exporter/web.yml", "--web.systemd-socket"]
    for words in offered:
        exporter_cli.parser().parse_args(words.split())
    (job,) = yaml.safe_load((DEPLOY / "prometheus/scrape.yml").read_text())
    port = re.search(r"(:\d+) by default", exporter_cli.parser().format_help().replace("\n", " "))
    assert port is not None
    assert job["static_configs"] == [{"targets": [f"localhost{port[1]}"]}]
    assert re.findall(r"^ListenStream=(.*)$", by_socket, re.MULTILINE) == [port[1][1:]]


def test_the_web_configuration_is_one_that_the_exporter_takes() -> None:
    text = (DEPLOY / "prometheus/web.yml").read_text()
    plain = webconfig.parse("/etc/lxcfs-exporter/web.yml", text.encode())
    assert (set(plain.users), plain.files()[0]) == ({"prometheus"}, "/etc/lxcfs-exporter/server.crt")
    offered = webconfig.parse("web.yml", re.sub(r"^( *)# (?=[a-z_]+:|  )", r"\1", text, flags=re.MULTILINE).encode())
    assert offered.tls is not None
    assert (offered.tls.client_certificate, offered.rate) == ("required", webconfig.Rate(0.1, 20))


def test_in_place_of_lxcfs_it_serves_where_the_stock_hook_looks() -> None:
    change = (DEPLOY / "systemd/lxcfs-py.service.d/in-place-of-lxcfs.conf").read_text()
    cleared, words = re.findall(r"^ExecStart=(.*)$", change, re.MULTILINE)
    assert cleared == ""
    options = cli.make_parser().parse_args(words.split()[1:])
    assert (options.mount, options.run_dir) == ("/var/lib/lxcfs", cli.RUN_DIR)
    assert {"Conflicts=lxcfs.service", "After=lxcfs.service", "StateDirectory=lxcfs"} <= set(change.splitlines())


def test_every_flag_that_the_lxc_readme_names_is_taken() -> None:
    named = re.findall(r"(?<=[`(])-{1,2}[a-z][^`)]*", (DEPLOY / "lxc/README.md").read_text())
    assert {"-l", "--no-loadavg", "-p /run/lxcfs.pid"} <= set(named)
    for words in named:
        cli.make_parser().parse_args(["serve", *words.split()])


def test_the_service_reloads_only_a_configuration_that_is_right() -> None:
    unit = (DEPLOY / "systemd/lxcfs-py.service").read_text()
    check, reload = re.findall(r"^ExecReload=(.*)$", unit, re.MULTILINE)
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert check.split()[0] == start.split()[0]
    assert cli.make_parser().parse_args(check.split()[1:]).file is None
    assert "--config" not in start
    assert reload == "/bin/kill -HUP $MAINPID"


def test_the_settings_of_pyrun_give_every_container_the_virtual_files_where_the_daemon_serves() -> None:
    text = (DEPLOY / "pyrun.toml").read_bytes()
    assert settings.parse("f", text) == {"lxcfs": True}
    offered = re.sub(rb"^# (?=[a-z-]+ = )", b"", text, flags=re.MULTILINE)
    assert settings.parse("f", offered) == {"lxcfs": True, "lxcfs-mount": cli.MOUNT, "lxcfs-run-dir": cli.RUN_DIR}
    assert settings.FILE in text.decode()


def test_docker_and_containerd_call_pyrun_with_options_that_it_takes() -> None:
    ((name, runtime),) = json.loads((DEPLOY / "docker/daemon.json").read_text())["runtimes"].items()
    assert (name, runtime["path"]) == ("pyrun", "/opt/lxcfs-py/bin/pyrun")
    assert arguments.parse(pyrun_cli.GLOBAL, runtime["runtimeArgs"], first_word_ends=True).has("--lxcfs")
    plugins = tomllib.loads((DEPLOY / "containerd/config.toml").read_text())["plugins"]
    made = plugins["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"][name]
    assert made == {"runtime_type": "io.containerd.runc.v2", "options": {"BinaryName": runtime["path"]}}


def test_the_hook_runs_a_command_that_our_parser_takes_for_every_annotation_of_ours() -> None:
    told = json.loads((DEPLOY / "oci/lxcfs-py-hook.json").read_text())
    assert told["hook"]["path"] == "/opt/lxcfs-py/bin/lxcfs-py"
    assert cli.make_parser().parse_args(told["hook"]["args"][1:]).run_dir == cli.RUN_DIR
    assert told["stages"] == ["createRuntime"]
    ((name, value),) = told["when"]["annotations"].items()
    for key in policy.CHOICES:
        assert re.search(name, f"{policy.ANNOTATION}{key}")
    assert not re.search(name, "org_lxcfs.cpus")
    assert re.search(value, "")
