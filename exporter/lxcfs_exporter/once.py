"""`lxcfs-exporter once --json`: the text of one scrape -> a document by container, for scripts.

    {"time": 1700000000.0,
     "containers": [{"id": "/system.slice/docker-...", "name": "web", "metrics": {
         "container_memory_usage_bytes": 1048576,
         "container_fs_reads_total": [{"device": "/dev/sda", "value": 3}],
         "container_info": {"runtime": "docker"}}}],
     "host": {"machine_cpu_cores": 2, ...}}

What tells containers apart stands beside `metrics`, where a scrape has it in each sample. A metric is a number; a list
of objects where it has labels of its own; an object where it only has labels (`_info`). JSON knows no NaN and no
infinity: they are null. Reads Prometheus' text, so that it tells what a scrape tells, whatever that becomes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

_TELL_APART = ("id", "name", "image", "container", "namespace", "pod")


def document(text: str, now: float) -> dict[str, Any]:
    """Ready for json.dumps; `now` in seconds since 1970."""
    containers: dict[str, dict[str, Any]] = {}
    host: dict[str, Any] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            metrics = _container(containers, labels)["metrics"] if "id" in labels else host
            _put(metrics, sample.name, labels, sample.value)
    return {"time": now, "containers": list(containers.values()), "host": host}


def _container(containers: dict[str, dict[str, Any]], labels: dict[str, str]) -> dict[str, Any]:
    """The container of a sample, whose labels become those of the metric alone."""
    known = {name: labels.pop(name) for name in _TELL_APART if name in labels}
    found = containers.setdefault(known["id"], {})
    metrics = found.pop("metrics", {})
    found.update({**known, "metrics": metrics})
    return found


def _put(metrics: dict[str, Any], name: str, labels: Mapping[str, str], value: float) -> None:
    if name.endswith("_info"):
        metrics.setdefault(name, {}).update(labels)
    elif labels:
        metrics.setdefault(name, []).append({**labels, "value": _number(value)})
    else:
        metrics[name] = _number(value)


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value
