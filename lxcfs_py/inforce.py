"""The policy in force for a container: what the supervisor accepted last, and what the container's annotations say.

Asked once for each finding of `caller`, so about once a second and container. Nothing here is kept that another process
would miss: the configuration and the annotations are in the run directory.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lxcfs_py import records
from lxcfs_py.cgroup.model import Policy
from lxcfs_py.cgroup.tree import Cgroup
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.policy import BUILT_IN, Choices
from lxcfs_py.rundir import configuration
from lxcfs_py.rundir.records import peek

_log = logging.getLogger(__name__)


class InForce:
    """A `caller.Chooser` over a run directory; what is built in where nobody serves.

    `generation` is `control.Control.generation`, or any other word for who does not stay."""

    def __init__(self, host: Host, run_dir: str, generation: Sequence[int] | memoryview) -> None:
        self.generation = generation
        self._host = host
        self._run_dir = run_dir
        self._seen = -1
        self._policies = BUILT_IN

    def of(self, cgroup: Cgroup) -> Policy:
        """The policy of the container in a cgroup; OSError where that is gone."""
        if self.generation[0] != self._seen:
            self._load()
        return self._policies.of(cgroup.path, self._annotated(cgroup))

    def chosen_by(self, cgroup: Cgroup) -> dict[str, str]:
        """Who made each choice of that policy, by key; see `policy.Policies`."""
        self.of(cgroup)
        return self._policies.chosen_by(cgroup.path, self._annotated(cgroup))

    def _load(self) -> None:
        self._seen = self.generation[0]  # before the file: what is announced meanwhile is read next time
        try:
            known = configuration.read(self._run_dir)
        except (OSError, Error) as error:
            _log.error("event=configuration-kept cause=%r", str(error))
            return
        self._policies = known.policies if known is not None else BUILT_IN

    def _annotated(self, cgroup: Cgroup) -> Choices:
        """Its own, or else those of the nearest cgroup above it: a container's init may have moved further down."""
        for identity in cgroup.identities(self._host):
            record = peek(self._run_dir, records.POLICY, identity)
            if record is not None:
                return records.unpack_policy(record)
        return {}
