"""The web configuration in force: read again on change, and never opened by a change."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from lxcfs_exporter.settings import Settings
from lxcfs_py.errors import Error, ParseError
from tests.exporter.certificates import Authority
from tests.exporter.test_access import USERS, WORD, basic
from tests.exporter.web import running

HASH = USERS["ada"]


def write(path: Path, text: str) -> None:
    """By rename, as editors and secret mounts do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "web.yml"
    write(found, f"basic_auth_users:\n  ada: {HASH}\n")
    return found


def test_no_file_is_no_protection() -> None:
    config, context = Settings(None).now()
    assert (config.users, config.tls, context) == ({}, None, None)


def test_a_file_that_is_wrong_at_the_start_is_an_error(path: Path) -> None:
    write(path, "a: b\n")
    with pytest.raises(ParseError, match=f"{path}:1: a: no such name"):
        Settings(str(path))
    write(path, "#" * ((1 << 20) + 1))
    with pytest.raises(Error, match="larger than 1 MiB"):
        Settings(str(path))
    path.unlink()
    with pytest.raises(Error, match=f"{path}: no such file") as caught:
        Settings(str(path))
    assert "--web.config.file" in (caught.value.hint or "")


def test_a_change_counts_from_the_next_question_on(path: Path) -> None:
    settings = Settings(str(path))
    assert set(settings.now().config.users) == {"ada"}
    write(path, f"basic_auth_users:\n  eve: {HASH}\n")
    assert set(settings.now().config.users) == {"eve"}
    assert settings.right


def test_what_is_in_force_is_the_same_while_nothing_changes(path: Path) -> None:
    settings = Settings(str(path))
    assert settings.now() is settings.now()


@pytest.mark.parametrize("text", ["", "basic_auth_users:\n", "basic_auth_users:\n  ada: x\n", "rate_limit: {", None])
def test_a_file_that_becomes_wrong_or_open_leaves_the_last_right_one(
    path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(str(path))
    if text is None:
        path.unlink()
    else:
        write(path, text)
    with caplog.at_level(logging.WARNING):
        assert [set(settings.now().config.users) for _ in range(3)] == [{"ada"}] * 3
    assert (settings.right, len(caplog.records)) == (False, 1)
    write(path, f"basic_auth_users:\n  eve: {HASH}\n")
    assert (set(settings.now().config.users), settings.right) == ({"eve"}, True)


def test_no_protection_of_the_start_is_given_up(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("server")
    pair = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
    mutual = f"{pair}  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n"
    path = tmp_path / "web.yml"
    full = f"{mutual}  client_allowed_sans: [a]\n"
    write(path, full)
    settings = Settings(str(path))
    for text in (mutual, pair, "", f"{pair}  client_ca_file: ca.crt\n  client_auth_type: VerifyClientCertIfGiven\n"):
        write(path, text)
        config = settings.now().config
        assert config.tls is not None
        assert (settings.right, config.tls.allowed_sans) == (False, ("a",))
    write(path, full.replace("[a]", "[b]"))
    config = settings.now().config
    assert config.tls is not None
    assert (settings.right, config.tls.allowed_sans) == (True, ("b",))


def test_a_new_certificate_is_shown_to_the_next_client_and_half_of_a_new_pair_to_none(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, other = authority.issue("server"), authority.issue("other")
    path = tmp_path / "web.yml"
    path.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")

    def shown() -> str:
        with served.connect() as raw, authority.client().wrap_socket(raw, server_hostname="localhost") as client:
            return str((client.getpeercert() or {})["subject"])

    with running(config=path) as served:
        assert "'server'" in shown()
        shutil.copy(other.certificate, server.certificate)
        assert "'server'" in shown()
        shutil.copy(other.key, server.key)
        assert "'other'" in shown()


def test_a_server_with_users_asks_for_a_password_on_every_page_and_takes_it(path: Path) -> None:
    with running(config=path) as server:
        for page in ("/", "/metrics", "/-/healthy", "/none"):
            response, _ = server.get(page)
            assert (response.status, response.getheader("WWW-Authenticate", "")[:12]) == (401, "Basic realm=")
        assert server.get("/metrics", Authorization=basic("ada", WORD))[0].status == 200
        write(path, f"basic_auth_users:\n  eve: {HASH}\n")
        assert server.get("/metrics", Authorization=basic("ada", WORD))[0].status == 401


def test_headers_of_the_file_are_on_every_reply_and_its_rate_limits_them(path: Path) -> None:
    write(path, "http_server_config: {headers: {X-Frame-Options: deny}}\nrate_limit: {interval: 1h, burst: 2}\n")
    with running(config=path) as server:
        found = [server.get(page)[0] for page in ("/metrics", "/none", "/metrics")]
    assert [each.status for each in found] == [200, 404, 429]
    assert [each.getheader("X-Frame-Options") for each in found] == ["deny"] * 3
