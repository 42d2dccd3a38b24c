"""A real Prometheus scrapes the command past TLS, a certificate and a password; promtool takes what we print."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import lxcfs_py
from tests.exporter.certificates import Authority
from tests.exporter.test_access import USERS, WORD
from tests.peers import prometheus
from tests.system.launched import BIN

pytestmark = pytest.mark.peer

DEPLOY = Path(__file__).parents[2] / "deploy/prometheus"


@contextmanager
def exporter(*options: str) -> Iterator[str]:
    """The command on a free port; where that is."""
    command = [BIN / "lxcfs-exporter", "--web.listen-address", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r'msg=listening address="(.*)"', process.stderr.readline())
            assert found is not None
            yield found[1]
        finally:
            process.terminate()


def test_prometheus_scrapes_past_tls_and_a_password(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("server")
    client = authority.issue("prometheus", "DNS:prometheus.example.org")
    web = (DEPLOY / "web.yml").read_text()
    web = re.sub(r"^  # (client_)", r"  \1", web, flags=re.MULTILINE)
    web = re.sub(r"^  prometheus: .*$", f"  ada: {USERS['ada']}", web, flags=re.MULTILINE)
    assert "client_allowed_sans: [prometheus.example.org]" in web
    (tmp_path / "known.yml").write_text(
        re.sub(r"^  client_allowed_sans.*$", "", web, flags=re.MULTILINE)
    )  # 2.42 has none
    done = prometheus.promtool("check", "web-config", tmp_path / "known.yml")
    assert done.stdout.endswith("known.yml SUCCESS\n"), done.stdout
    (tmp_path / "web.yml").write_text(web)
    with exporter("--web.config.file", str(tmp_path / "web.yml")) as address:
        (job,) = yaml.safe_load((DEPLOY / "scrape.yml").read_text())
        job["static_configs"] = [{"targets": [address]}]
        job |= {
            "scrape_interval": "1s",
            "scheme": "https",
            "tls_config": {
                "ca_file": str(authority.pair.certificate),
                "cert_file": str(client.certificate),
                "key_file": str(client.key),
            },
            "basic_auth": {"username": "ada", "password": WORD},
            "params": {"collect[]": ["machine", "life"]},
        }
        with prometheus.serving(yaml.safe_dump({"scrape_configs": [job]})) as server:
            server.until('up{job="lxcfs-py"} == 1')
            (build,) = server.until("lxcfs_exporter_build_info")
            assert build["metric"]["version"] == lxcfs_py.__version__
            (cores,) = server.until("machine_cpu_cores")
            assert int(cores["value"][1]) >= 1
            assert {"lxcfs_exporter_collector_success"} <= set(server.ask("label/__name__/values"))
            failed = server.query('lxcfs_exporter_collector_success{collector=~"machine|life"} == 0')
            assert failed == []


def test_prometheus_without_a_password_is_kept_out_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{ada: {USERS['ada']}}}\n")
    with exporter("--web.config.file", str(tmp_path / "web.yml")) as address:
        job = {"job_name": "x", "scrape_interval": "1s", "static_configs": [{"targets": [address]}]}
        with prometheus.serving(yaml.safe_dump({"scrape_configs": [job]})) as server:
            server.until('up{job="x"} == 0')
            (target,) = server.ask("targets")["activeTargets"]
            assert "401 Unauthorized" in target["lastError"]


def test_promtool_finds_nothing_to_say_of_a_scrape() -> None:
    scrape = subprocess.run([BIN / "lxcfs-exporter", "once"], capture_output=True, text=True, check=True, timeout=60)
    done = prometheus.promtool("check", "metrics", stdin=scrape.stdout)
    assert (done.returncode, done.stdout) == (0, "")


def test_promtool_takes_what_we_would_have_operators_write(tmp_path: Path) -> None:
    jobs = "".join(f"  {line}\n" for line in (DEPLOY / "scrape.yml").read_text().splitlines())
    (tmp_path / "prometheus.yml").write_text(f"scrape_configs:\n{jobs}")
    done = prometheus.promtool("check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout


def test_every_alert_fires_where_it_should_and_there_alone() -> None:
    rules, cases = DEPLOY / "rules.yml", Path(__file__).parents[1] / "exporter/rules.test.yml"
    checked = prometheus.promtool("check", "rules", rules)
    assert checked.returncode == 0, checked.stdout
    done = prometheus.promtool("test", "rules", cases)
    assert done.returncode == 0, done.stdout
    alerts = {rule["alert"] for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]}
    tests = yaml.safe_load(cases.read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert alerts == fired
