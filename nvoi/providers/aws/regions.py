"""Where else than in the region of its config an app may be at AWS. Nothing is changed there."""

from __future__ import annotations

from collections.abc import Mapping

from nvoi import parallel
from nvoi.errors import NvoiError
from nvoi.invocation import name_command
from nvoi.log.levels import get_logger
from nvoi.providers.aws.api import EC2
from nvoi.providers.aws.catalog import DISABLED
from nvoi.providers.aws.ownership import Owner
from nvoi.providers.aws.refusals import EC2Error
from nvoi.providers.aws.resources import Resource

log = get_logger("nvoi.providers")

#: What says that an app is in a region: its network, or volumes, which a deletion may have spared.
TRACES = ("vpc", "volume")


class Regions:
    """The regions of one account beside that of the config."""

    def __init__(self, ec2: EC2, owner: Owner) -> None:
        self._ec2, self._owner = ec2, owner

    def find_traces(self) -> dict[str, Resource]:
        """What says that the app is in other regions, by these.

        One that cannot be asked is told, and no hindrance: an account, or a network that leads to
        AWS, may be closed to all regions but its own.
        """
        try:
            states = self._ec2.list_regions(self._ec2.region)
        except EC2Error as error:
            log.warning("Whether the app is in other regions is not known: %s", error.message)
            return {}
        others = sorted(
            region
            for region, state in states.items()
            if state != DISABLED and region != self._ec2.region
        )
        places = {region: self._ec2.move(region) for region in others}
        found = parallel.work_on_all(others, lambda region: self._look(places[region]))
        silent = {one: trace for one, trace in found.items() if isinstance(trace, EC2Error)}
        if silent:
            reason = next(iter(silent.values())).message
            log.warning("Whether the app is in %s is not known: %s", ", ".join(silent), reason)
        return {one: trace for one, trace in found.items() if isinstance(trace, Resource)}

    def check_none(self) -> None:
        """See that the app has nothing in another region: its cluster cannot be in two.

        Raises:
            NvoiError: it has.
        """
        for region, trace in self.find_traces().items():
            raise NvoiError(
                f"the app is in {region} already, and the config says {self._ec2.region}: {trace}",
                hint="set the region that it had again; to move it, save the data, and run "
                f"{name_command('delete --delete-volumes')} first",
            )

    def _look(self, there: EC2) -> Resource | EC2Error | None:
        try:
            return next((one for kind in TRACES for one in self._owner.list_in(there, kind)), None)
        except EC2Error as error:
            return error


def build_elsewhere_error(traces: Mapping[str, Resource]) -> NvoiError:
    """The error of a delete that leaves what is in other regions."""
    told = ", ".join(f"{trace} in {region}" for region, trace in traces.items())
    return NvoiError(
        f"left at AWS: {told}",
        hint=f"set region to {' and then to '.join(traces)}, and run {name_command('delete')} "
        "there as well",
    )
