"""A cluster as a run has it: its objects, rollouts that are followed, and releases put back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from nvoi.kubernetes.diagnosis import is_crashing
from nvoi.kubernetes.names import COMPONENT, DOMAIN, INSTANCE
from nvoi.kubernetes.objects import DELETING, FOLLOWED, LOOKING, Objects
from nvoi.kubernetes.ownership import (
    Json,
    Manifest,
    Reference,
    get_label,
    is_adopted,
    list_immutable_changes,
    read_reference,
)
from nvoi.kubernetes.progress import Restarts, count_settling, find_stuck
from nvoi.kubernetes.rollout import RolloutWatch
from nvoi.log.levels import get_logger

log = get_logger("nvoi.kubernetes")

#: The kinds that can be put back.
LOOKED_AT = ("deployments", "statefulsets", "services")
#: Seconds that each component of an app has to be ready again, after those that it needs: it may
#: crash until these are. A database may have to end and to recover first.
RESTORE_SECONDS = {"database": 900.0, "service": 300.0, "app": 300.0, DOMAIN: 120.0}


class Cluster(Objects):
    """A cluster, and what has become of the containers that were well in this run: see Objects.

    Rollouts raise ServiceError too: a workload has failed, or was not done in time.
    """

    @cached_property
    def _restarts(self) -> Restarts:
        return Restarts()

    def roll_out(
        self,
        manifests: Iterable[Manifest],
        *,
        seconds: float,
        delete_first: Sequence[Reference] = (),
    ) -> tuple[Json, ...]:
        """Apply ``manifests``, and follow the workloads among them until all are done.

        All are in one namespace. What can never be changed is to be deleted before, with
        ``delete_first``. Returns the workloads and Services as they were applied.
        """
        items = [*manifests]
        self.delete(delete_first)
        applied = self.apply(items)
        self._follow(items, seconds)
        return tuple(item for item in applied if item["kind"] in FOLLOWED | {"Service"})

    def follow(
        self,
        references: Iterable[Reference],
        seconds: float,
        *,
        selector: str | None = None,
        is_patient: bool = False,
        is_quiet: bool = False,
        frees: bool = False,
    ) -> None:
        """Follow workloads of one namespace until all are done.

        With ``is_patient`` containers may end that were well before in this run: what they need
        may have been away. With ``is_quiet`` only failures are told. Where it ``frees``, pods that
        hold it up are deleted.
        """
        RolloutWatch(
            self._api,
            references,
            selector=selector,
            seconds=seconds,
            restarts=None if is_patient else self._restarts,
            describe=lambda error: self._build_error([error], LOOKING),
            free=self._free if frees else None,
            is_patient=is_patient,
            is_quiet=is_quiet,
        ).follow()

    def restore(
        self,
        before: Iterable[Manifest],
        created: Iterable[Reference],
        *,
        unready: Collection[Reference] = (),
        seconds: Mapping[str, float] = RESTORE_SECONDS,
    ) -> None:
        """Put back what there was before a release, and wait until it is ready.

        ``before`` is in one namespace, and its Jobs are not run again; ``created`` is what was not
        there. What was ``unready`` then is not waited for. Components follow each other in the
        order of ``seconds``: each may take so long, and the time that its pods must stay ready.
        Containers may crash meanwhile.
        """
        old = [item for item in before if item["kind"] != "Job"]
        if old:
            selector, namespace = build_selector(old), read_reference(old[0]).namespace
            live = self.get(LOOKED_AT, selector=selector, namespace=namespace)
            fixed = list_immutable_changes(live, old)
            if fixed:
                # Others that are as they were go on while these are away.
                services = [one for one in old if one["kind"] == "Service"]
                self.apply([one for one in services if read_reference(one) not in fixed])
            self.delete(fixed)
            self.apply(old)
        self.delete(created, wait=False)
        left = [item for item in old if read_reference(item) in unready]
        if left:
            pods = self.get(["pods"], selector=build_selector(left))
            self._free([pod for item in left for pod in find_stuck(item, pods)])
            names = ", ".join(str(read_reference(item)) for item in left)
            log.info("Not waited for, as it was not ready before either: %s", names)
        awaited = [item for item in old if item not in left]
        if awaited:
            log.info("Waiting until the previous release is ready again")
        for component, limit in seconds.items():
            stage = [item for item in awaited if get_label(item, COMPONENT) == component]
            self._follow(stage, limit + count_settling(stage), is_patient=True)

    def note_pods(self, selector: str | None) -> None:
        """Remember the containers that are well: none of these may end from now on."""
        self._restarts.note(self.get(["pods"], selector=selector), is_done=True)

    def free_crashing(self, selector: str) -> None:
        """Delete pods in back-off: what they crashed of is mended by now."""
        self._free([one for one in self.get(["pods"], selector=selector) if is_crashing(one)])

    def _follow(
        self, manifests: Sequence[Manifest], seconds: float, *, is_patient: bool = False
    ) -> None:
        references = [read_reference(item) for item in manifests]
        followed = [one for one in references if one.kind in FOLLOWED]
        if followed:
            selector = build_selector(manifests)
            self.follow(followed, seconds, selector=selector, is_patient=is_patient, frees=True)

    def _free(self, pods: Sequence[Json]) -> None:
        """Delete pods that hold a rollout up, but none that has taken the place of one."""
        if not pods:
            return
        names = ", ".join(str(read_reference(pod)) for pod in pods)
        log.info("Deleting what stands in the way: %s", names)
        self._check()
        with self._telling(DELETING):
            for pod in pods:
                self._api.delete(read_reference(pod), "Background", uid=pod["metadata"]["uid"])


def build_selector(manifests: Iterable[Manifest]) -> str | None:
    """The selector of the workloads among ``manifests`` and of their pods, None for all."""
    names: set[str] = set()
    for manifest in manifests:
        metadata: Any = manifest["metadata"]
        name = (metadata.get("labels") or {}).get(INSTANCE)
        # The pods of what was taken over bear other labels.
        if name is None or is_adopted(manifest):
            return None
        names.add(name)
    return f"{INSTANCE} in ({','.join(sorted(names))})"
