"""What a scrape's families say, read back by prometheus_client's parser from the text that they become."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import parser
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from lxcfs_exporter import encoding
from lxcfs_exporter.series import Family


class Given(Collector):
    """Families of prometheus_client's that are there already, in the shape that its encoders take."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> list[Metric]:
        return self._metrics


def text(families: Iterable[Family]) -> str:
    """As Prometheus' text form has them."""
    return b"".join(map(encoding.text, families)).decode()


def read(families: Iterable[Family]) -> list[Metric]:
    """As prometheus_client has them."""
    return list(parser.text_string_to_metric_families(text(families)))


def values(families: Iterable[Family], name: str) -> dict[str, float]:
    """Of the samples of a name, by the labels that are not empty and not `name`, joined."""
    return {
        " ".join(value for key, value in sorted(sample.labels.items()) if value and key != "name"): sample.value
        for family in read(each for each in families if each.name == name)
        for sample in family.samples
        if sample.name == name
    }
