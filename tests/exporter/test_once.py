"""One scrape as a document, and as text, of a small machine and of this one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lxcfs_exporter import cli, once
from lxcfs_exporter.collectors import COLLECTORS
from lxcfs_exporter.discovery import Discovery, Rules
from lxcfs_exporter.exposition import Exposition, negotiate
from lxcfs_exporter.scrape import Scrape
from tests.exporter import trees

TEXT = """\
# TYPE container_info gauge
container_info{id="/a",runtime="docker",container_label_x="y"} 1.0
# TYPE container_memory_usage_bytes gauge
container_memory_usage_bytes{id="/a",name="web",image="i"} 1.048576e+06
container_memory_usage_bytes{id="/b"} 0.5
# TYPE container_fs_reads_total counter
container_fs_reads_total{id="/a",name="web",device="/dev/sda"} 3.0
container_fs_reads_total{id="/a",name="web",device="/dev/sdb"} NaN
# TYPE machine_cpu_cores gauge
machine_cpu_cores 2.0
# TYPE x gauge
x{y="z"} +Inf
"""


def test_a_scrape_becomes_a_document_by_container() -> None:
    assert once.document(TEXT, 7.5) == {
        "time": 7.5,
        "containers": [
            {
                "id": "/a",
                "name": "web",
                "image": "i",
                "metrics": {
                    "container_info": {"runtime": "docker", "container_label_x": "y"},
                    "container_memory_usage_bytes": 1048576,
                    "container_fs_reads_total": [
                        {"device": "/dev/sda", "value": 3},
                        {"device": "/dev/sdb", "value": None},
                    ],
                },
            },
            {"id": "/b", "metrics": {"container_memory_usage_bytes": 0.5}},
        ],
        "host": {"machine_cpu_cores": 2, "x": [{"y": "z", "value": None}]},
    }


def numbers(metric: object) -> int:
    return len(metric) if isinstance(metric, list) else 1


def test_no_sample_of_a_scrape_is_lost(tmp_path: Path) -> None:
    root = trees.v2(tmp_path, f"/system.slice/docker-{trees.ID}.scope", f"/system.slice/docker-{trees.OTHER}.scope")
    with trees.opened(root) as host:
        source = Scrape(host, Discovery(host, Rules()), COLLECTORS)
        text = Exposition(source, 1).text(negotiate("", "")).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    told = once.document(text, 0)
    places = [told["host"], *(each["metrics"] for each in told["containers"])]
    assert sum(numbers(metric) for place in places for metric in place.values()) == len(samples)
    assert len(told["containers"]) >= 2


def test_json_is_the_document_of_now(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["once", "--json", "--no-collector.memory"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"time", "containers", "host"}
    assert told["host"]["lxcfs_exporter_build_info"]["version"]
    assert [each for each in told["containers"] if "container_memory_usage_bytes" in each["metrics"]] == []
