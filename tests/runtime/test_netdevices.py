"""linux.netDevices and labels of security modules: what config.json may say of them, and where in a plan they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lxcfs_py.errors import SpecError, Unsupported
from pyrun import attributes, becoming, plan, planning
from pyrun.channel import Channel, pair
from pyrun.planning import Facts
from pyrun.spec import NetDevice
from tests.runtime.configs import load


def devices(value: object) -> tuple[NetDevice, ...]:
    return load(**{"linux.netDevices": value}).linux.net_devices


def test_a_device_keeps_its_name_or_gets_another() -> None:
    asked = {"eth0": {}, "ens1": {"name": "data"}}
    assert devices(asked) == (NetDevice("eth0", "eth0"), NetDevice("ens1", "data"))
    assert devices({}) == devices(None) == ()
    made = planning.make(load(**{"linux.netDevices": asked}), "c1", "/bundle", Facts({}))
    (step,) = [step for step in made.steps if isinstance(step, plan.MoveDevices)]
    assert step.describe() == "move the network devices eth0, ens1 as data here"


BAD = ("", ".", "..", "a/b", "a:b", "a b", "eth%d", "sixteen-letters-", "a\n", "\u20ac" * 6)


@pytest.mark.parametrize("name", BAD)
def test_what_the_kernel_takes_for_no_name_is_refused(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        devices({name: {}})
    assert caught.value.message.startswith(f'linux.netDevices["{name}"]: ')
    if name:
        with pytest.raises(SpecError) as caught:
            devices({"eth0": {"name": name}})
        assert caught.value.message.startswith('linux.netDevices["eth0"].name: ')


def test_contradictions_are_named() -> None:
    with pytest.raises(SpecError, match=r'linux.netDevices\["b"\].name: two devices would be called "a"'):
        devices({"a": {}, "b": {"name": "a"}})
    with pytest.raises(SpecError, match=r"linux.netDevices: needs a network namespace"):
        load(**{"linux.netDevices": {"a": {}}, "linux.namespaces": [{"type": "mount"}, {"type": "uts"}]})
    with pytest.raises(Unsupported, match=r"linux.netDevices: only the host's root"):
        planning.make(load(**{"linux.netDevices": {"a": {}}}), "c1", "/bundle", Facts({}, rootless=True))


# Labels ---------------------------------------------------------------------------------------------------------------

LABELLED: list[tuple[str, str, str]] = [
    ("process.apparmorProfile", "apparmor", "AppArmor"),
    ("process.selinuxLabel", "selinux", "SELinux"),
    ("linux.mountLabel", "selinux", "SELinux"),
]


@pytest.mark.parametrize(("path", "module", "name"), LABELLED)
def test_a_label_that_would_not_be_in_force_is_refused(path: str, module: str, name: str) -> None:
    spec = load(**{path: "x:y"})
    with pytest.raises(Unsupported, match=f"^{path}: {name} is not enabled on this machine"):
        planning.make(spec, "c1", "/bundle", Facts({}))
    planning.make(spec, "c1", "/bundle", Facts({}, security_modules=(module,)))
    assert planning.labelled(spec) == {path: module}
    assert planning.labelled(load(**{path: ""})) == {}


def test_a_process_is_labelled_while_it_may_be() -> None:
    """Before it allows itself no new privileges, and becomes a user who could not."""
    spec = load(**{"process.apparmorProfile": "confined", "process.noNewPrivileges": True})
    made = planning.make(spec, "c1", "/bundle", Facts({}, security_modules=("apparmor",)))
    later = planning.further(spec, "c1", 0)
    for steps in (made.steps, later.steps):
        kinds = [type(step) for step in steps]
        assert kinds.index(attributes.Label) < kinds.index(plan.SetUser) < kinds.index(plan.NoNewPrivileges)
    assert "be confined to AppArmor from the command on\n" in made.describe()


def test_file_systems_of_a_container_have_its_label() -> None:
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    made = planning.make(load(**{"linux.mountLabel": label}), "c1", "/b", Facts({}, security_modules=("selinux",)))
    found = {step.fstype: step.flags.context for step in made.steps if isinstance(step, plan.Mount)}
    assert {fstype for fstype, context in found.items() if context == label} == {"tmpfs", "devpts"}
    assert {fstype for fstype, context in found.items() if not context} == {"proc", "sysfs", "mqueue"}
    assert f'context="{label}"' in made.describe()
    assert "linux.mountLabel: not in force for file systems of type mqueue" in made.warnings


class _Fake(becoming.Becoming):
    """With files of ours for /proc/self."""

    def __init__(self, parent: Channel, proc: Path) -> None:
        super().__init__(parent)
        os.close(self.proc)
        self.proc = os.open(proc, os.O_PATH | os.O_DIRECTORY)


@pytest.mark.parametrize(
    ("module", "files", "written", "text"),
    [
        ("apparmor", ("attr/exec", "attr/apparmor/exec"), "attr/apparmor/exec", "exec confined"),
        ("apparmor", ("attr/exec",), "attr/exec", "exec confined"),
        ("selinux", ("attr/exec", "attr/apparmor/exec"), "attr/exec", "confined"),
    ],
)
def test_a_label_is_written_where_its_module_reads_it(
    tmp_path: Path, module: str, files: tuple[str, ...], written: str, text: Any
) -> None:
    for file in files:
        (tmp_path / "self" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "self" / file).touch()
    ours, theirs = pair()
    subject = _Fake(ours, tmp_path)
    becoming.take(becoming.STEPS, subject, attributes.Label(module, "confined"))
    os.close(subject.proc)
    ours.close()
    theirs.close()
    assert {file: (tmp_path / "self" / file).read_text() for file in files} == {
        file: text if file == written else "" for file in files
    }
