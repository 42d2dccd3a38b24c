"""Grafana's dashboard in deploy/: every expression has data in a Prometheus that scrapes the exporter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector

from lxcfs_exporter.collectors import COLLECTORS
from lxcfs_exporter.discovery import Discovery, Rules
from lxcfs_exporter.exposition import ALL, Exposition
from lxcfs_exporter.scrape import Scrape
from lxcfs_exporter.series import Family
from lxcfs_py.host import Host
from tests.exporter import trees, web
from tests.exporter.test_network import machine
from tests.peers import prometheus

FILE = Path(__file__).parents[2] / "deploy/grafana/containers.json"
BOARD: dict[str, Any] = json.loads(FILE.read_text())
CONTAINER = "/system.slice/docker-" + trees.ID + ".scope"
WAITED = "avg10=0.00 avg60=0.00 avg300=0.00 total"
LIMITS = {"cpu.max": "50000 100000\n", "memory.max": "2000\n", "pids.max": "10\n"}


class Busy(Scrape):
    """A scrape of a container that has used, waited for and sent more each time."""

    def __init__(self, root: Path, host: Host) -> None:
        super().__init__(host, Discovery(host, Rules()), COLLECTORS)
        self._root = root
        self._times = 0

    def collect(self, wanted: frozenset[str] = ALL) -> Iterator[Family]:
        self._times += 1
        times = self._times
        files = {
            "cpu.stat": f"usage_usec {times}000\nuser_usec 1\nsystem_usec 1\n"
            f"nr_periods {9 * times}\nnr_throttled {4 * times}\nthrottled_usec {times}\n",
            **{f"{name}.pressure": f"some {WAITED}={times}\nfull {WAITED}=0\n" for name in ("cpu", "memory", "io")},
        }
        trees.write(self._root, {f"{trees.V2}{CONTAINER}/{name}": text for name, text in files.items()})
        sent = f"Tcp: ActiveOpens CurrEstab OutSegs RetransSegs\nTcp: 5 3 {9 * times} {times}\n"
        trees.write(self._root, {"proc/100/net/snmp": sent})
        yield from super().collect(wanted)


def expressions() -> list[str]:
    return [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]


def filled_in(expression: str) -> str:
    """With the variables as Grafana writes them where everything is chosen."""
    values = {"$instance": ".*", "$name": ".*", "$__rate_interval": "1m", "$__range": "5m"}
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@contextmanager
def exporter(root: Path) -> Iterator[int]:
    """The exporter on a machine with one container, which is busy and has every limit: its port."""
    machine(root, [(CONTAINER, 100, 900, "own")])
    trees.write(root, {f"{trees.V2}{CONTAINER}/{name}": text for name, text in LIMITS.items()})
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    with trees.opened(root) as host:
        exposition = Exposition(Busy(root, host), web.SECONDS, registry)
        with web.running(exposition=exposition) as server:
            yield server.port


@pytest.mark.peer
def test_every_expression_of_the_dashboard_has_data(tmp_path: Path) -> None:
    with exporter(tmp_path) as port:
        target = {
            "job_name": "lxcfs-py",
            "scrape_interval": "1s",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        with prometheus.serving(json.dumps({"scrape_configs": [target]})) as server:
            server.until("count_over_time(lxcfs_exporter_build_info[1m]) >= 3")
            for expression in expressions():
                found = server.until(filled_in(expression))
                assert all(series["value"][1] != "NaN" for series in found), (expression, found)
            for variable in BOARD["templating"]["list"][1:]:
                selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
                found = server.until(f"count by ({label}) ({filled_in(selector)})")
                assert [series for series in found if label not in series["metric"]] == []


def test_panels_do_not_lie_over_one_another_and_each_says_what_it_shows() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"], panel["title"]
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(numbers) == len(set(numbers))


def test_every_panel_asks_the_chosen_prometheus_for_the_chosen_hosts() -> None:
    assert [variable["name"] for variable in BOARD["templating"]["list"]] == ["datasource", "instance", "name"]
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert "$instance" in target["expr"]
