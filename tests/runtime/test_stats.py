"""`events --stats` has runc's form, from the files of either version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyrun import stats

V1 = {
    "cpu/cpu.stat": "nr_periods 4\nnr_throttled 2\nthrottled_time 77\n",
    "cpuacct/cpuacct.usage": "9000\n",
    "cpuacct/cpuacct.usage_percpu": "4000 5000 \n",
    "cpuacct/cpuacct.usage_all": "cpu user system\n0 1 3\n1 2 3\n",
    "cpuacct/cpuacct.stat": "user 3\nsystem 2\n",
    "cpuset/cpuset.cpus": "0-1,3\n",
    "cpuset/cpuset.mems": "0\n",
    "cpuset/cpuset.sched_relax_domain_level": "-1\n",
    "memory/memory.stat": "cache 10\nrss 20\n",
    "memory/memory.usage_in_bytes": "40\n",
    "memory/memory.max_usage_in_bytes": "50\n",
    "memory/memory.limit_in_bytes": "60\n",
    "memory/memory.failcnt": "3\n",
    "pids/pids.current": "2\n",
    "pids/pids.max": "max\n",
    "blkio/blkio.throttle.io_service_bytes_recursive": "8:16 Read 4096\n8:16 Write 0\n8:16 Total 4096\nTotal 4096\n",
    "hugetlb/hugetlb.2MB.usage_in_bytes": "2097152\n",
    "hugetlb/hugetlb.2MB.max_usage_in_bytes": "4194304\n",
    "hugetlb/hugetlb.2MB.failcnt": "1\n",
    "unified/cpu.stat": "usage_usec 1\nuser_usec 1\n",
    "unified/cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=12\n",
}

V2 = {
    "g/cpu.stat": "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 4\nnr_throttled 2\nthrottled_usec 77\n",
    "g/cpuset.cpus.effective": "2\n",
    "g/memory.stat": "anon 20\nfile 10\n",
    "g/memory.current": "40\n",
    "g/memory.peak": "50\n",
    "g/memory.max": "60\n",
    "g/memory.swap.current": "4\n",
    "g/memory.swap.max": "max\n",
    "g/memory.events": "low 0\nmax 3\noom_kill 1\n",
    "g/pids.current": "2\n",
    "g/pids.max": "7\n",
    "g/io.stat": "8:16 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
    "g/hugetlb.2MB.current": "2097152\n",
    "g/hugetlb.2MB.events": "max 1\n",
}


def read(root: Path, files: dict[str, str]) -> dict[str, stats.Section]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return stats.read(str(folder) for folder in sorted(root.iterdir()))


def test_v1(tmp_path: Path) -> None:
    found = read(tmp_path, V1)
    assert list(found) == ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"]
    assert found["cpu"] == {
        "usage": {
            "total": 9000,
            "percpu": [4000, 5000],
            "percpu_kernel": [3, 3],
            "percpu_user": [1, 2],
            "kernel": 20_000_000,
            "user": 30_000_000,
        },
        "throttling": {"periods": 4, "throttledPeriods": 2, "throttledTime": 77},
        "psi": {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 12}},
    }
    assert found["cpuset"]["cpus"] == [0, 1, 3]
    assert (found["cpuset"]["sched_relax_domain_level"], found["cpuset"]["cpu_exclusive"]) == (-1, 0)
    assert found["memory"]["usage"] == {"limit": 60, "usage": 40, "max": 50, "failcnt": 3}
    assert (found["memory"]["cache"], found["memory"]["raw"]) == (10, {"cache": 10, "rss": 20})
    assert found["pids"] == {"current": 2}
    assert found["blkio"]["ioServiceBytesRecursive"][0] == {"major": 8, "minor": 16, "op": "Read", "value": 4096}
    assert len(found["blkio"]["ioServiceBytesRecursive"]) == 3
    assert found["hugetlb"] == {"2MB": {"usage": 2097152, "max": 4194304, "failcnt": 1}}


def test_v2(tmp_path: Path) -> None:
    found = read(tmp_path, V2)
    assert found["cpu"]["usage"] == {"total": 9000, "kernel": 4000, "user": 5000}
    assert found["cpu"]["throttling"] == {"periods": 4, "throttledPeriods": 2, "throttledTime": 77_000}
    assert found["cpuset"]["cpus"] == [2]
    assert found["memory"]["usage"] == {"limit": 60, "usage": 40, "max": 50, "failcnt": 3}
    assert found["memory"]["swap"] == {"limit": 2**64 - 1, "usage": 44, "failcnt": 0}
    assert found["memory"]["cache"] == 10
    assert found["pids"] == {"current": 2, "limit": 7}
    assert found["blkio"]["ioServiceBytesRecursive"][0] == {"major": 8, "minor": 16, "op": "Read", "value": 4096}
    assert found["hugetlb"] == {"2MB": {"usage": 2097152, "failcnt": 1}}


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
def test_any_file_may_be_missing(tmp_path: Path, files: dict[str, str]) -> None:
    for name in files:
        root = tmp_path / name.replace("/", "-")
        root.mkdir()
        json.dumps(read(root, {other: text for other, text in files.items() if other != name}))
    bare = tmp_path / "bare"
    bare.mkdir()
    assert read(bare, {})["memory"]["usage"] == {"limit": 0, "failcnt": 0}
