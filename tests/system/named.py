"""What the exporter calls the containers of an engine that runs in a test: as a scrape finds them."""

from __future__ import annotations

from lxcfs_exporter.discovery import Container, Discovery, Rules
from lxcfs_py.host import Host


def containers(below: str, root: str = "/") -> list[Container]:
    """Those whose cgroups are below a path of this machine; `root` is where the machine's files begin."""
    host = Host(root, keep=0)
    try:
        found = Discovery(host, Rules()).find()
    finally:
        host.close()
    return [each for each in found.containers if each.id.startswith(f"{below}/")]


def names(below: str, root: str = "/") -> list[tuple[str, str, str]]:
    """Runtime, name and image of each."""
    return [(each.identity.runtime, each.identity.name, each.identity.image) for each in containers(below, root)]
