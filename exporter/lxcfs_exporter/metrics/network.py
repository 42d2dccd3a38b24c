"""Interfaces and transport protocols of network namespaces (proc_pid_net(5), networking/snmp_counter.rst)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lxcfs_exporter.scene import Interface, Scene
from lxcfs_exporter.series import Family, Kind, Row, families

_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE


def _at(place: int) -> Callable[[Interface], int]:
    return lambda interface: interface.counters[place]


_SAID = {"bytes": "Bytes", "packets": "Packets", "errors": "Errors", "packets_dropped": "Packets that were dropped"}
_INTERFACES: tuple[Row[Interface], ...] = tuple(
    Row(_COUNTER, f"container_network_{way}_{name}_total", f"{said} {done}.", _at(first + place))
    for way, done, first in (("receive", "in receiving", 0), ("transmit", "in sending", 8))
    for place, (name, said) in enumerate(_SAID.items())
)


def network(scene: Scene) -> Iterator[Family]:
    """Interfaces, without the loopback."""
    seen = [
        (labels.beside(("interface",), interface.name), interface)
        for labels, found in scene.networks
        for interface in found.interfaces
    ]
    yield from families(_INTERFACES, seen)


def _snmp(key: str) -> Callable[[Mapping[str, int]], int | None]:
    return lambda numbers: numbers.get(key)


_TCP: tuple[Row[Mapping[str, int]], ...] = (
    Row(_GAUGE, "container_network_tcp_established", "TCP connections that are open.", _snmp("Tcp.CurrEstab")),
    Row(_COUNTER, "container_network_tcp_opened_total", "TCP connections opened by it.", _snmp("Tcp.ActiveOpens")),
    Row(_COUNTER, "container_network_tcp_accepted_total", "TCP connections accepted.", _snmp("Tcp.PassiveOpens")),
    Row(_COUNTER, "container_network_tcp_failed_total", "TCP connections that failed.", _snmp("Tcp.AttemptFails")),
    Row(_COUNTER, "container_network_tcp_resets_total", "TCP connections that were reset.", _snmp("Tcp.EstabResets")),
    Row(_COUNTER, "container_network_tcp_segments_sent_total", "TCP segments sent.", _snmp("Tcp.OutSegs")),
    Row(_COUNTER, "container_network_tcp_segments_received_total", "TCP segments received.", _snmp("Tcp.InSegs")),
    Row(
        *(_COUNTER, "container_network_tcp_segments_retransmitted_total", "TCP segments sent again."),
        _snmp("Tcp.RetransSegs"),
    ),
    Row(_COUNTER, "container_network_udp_errors_total", "UDP datagrams lost in receiving.", _snmp("Udp.InErrors")),
    Row(
        *(_COUNTER, "container_network_udp_buffer_errors_total", "UDP datagrams lost for want of room."),
        _snmp("Udp.RcvbufErrors"),
    ),
)


def tcp(scene: Scene) -> Iterator[Family]:
    """TCP and UDP."""
    yield from families(_TCP, [(labels.plain, found.snmp) for labels, found in scene.networks])
