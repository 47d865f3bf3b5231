"""How many servers of a type an organization may have at Scaleway, against what is asked for.

Facts are of Scaleway's API reference: IAM v1alpha1, "Get a quota in the Organization", and Account
v3, "Get an existing Project". The names of server types' quotas are those that refusals have; those
of others, such as of addresses, no reference tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nvoi.errors import Fault, HostsError, RequestError
from nvoi.http import list_objects
from nvoi.log.rendering import format_count
from nvoi.parallel import work_on_all
from nvoi.providers.rented import WantedServer
from nvoi.providers.scaleway.api import FORBIDDEN, NOT_FOUND, Json, ScalewayAPI
from nvoi.providers.scaleway.inventory import find_region

#: What the key needs for it beside its other rights, both at the level of the organization.
QUOTA_RIGHTS = ("ProjectReadOnly", "OrganizationReadOnly")
REMEDY = (
    "name another type or zone, delete what is not needed, or have more: verify the "
    "organization's identity, or ask Scaleway's support "
    "(https://console.scaleway.com/organization/quotas)"
)


def judge_quotas(
    api: ScalewayAPI, new: Sequence[WantedServer], there: Mapping[tuple[str, str], int]
) -> tuple[list[Fault], str]:
    """What of the servers to be made is beyond a quota; why nobody knows, where nobody does.

    A quota is the organization's, and the key sees the servers of its project alone: where others
    use it up, only the API's refusal tells.

    Args:
        there: how many servers there are, by their types and zones.
    """
    if not new:
        return [], ""
    try:
        organization = get_organization(api)
        types = sorted({one.type for one in new})
        quotas = work_on_all(types, lambda type_: read_quota(api, organization, type_))
    except (HostsError, RequestError) as failed:
        error = failed.errors[0] if isinstance(failed, HostsError) else failed
        hint = ""
        if isinstance(error, RequestError) and error.status == FORBIDDEN:
            hint = f" (to check them, {' and '.join(QUOTA_RIGHTS)} are needed)"
        return [], f"quotas are not checked: {error.message}{hint}"
    return [*list_faults(new, quotas, there)], ""


def list_faults(
    new: Sequence[WantedServer], quotas: Mapping[str, Json], there: Mapping[tuple[str, str], int]
) -> Iterator[Fault]:
    """What is beyond ``quotas``, by types."""
    for type_, quota in quotas.items():
        for place, limit in list_limits(quota):
            asked = [one for one in new if one.type == type_ and is_in(one.location or "", place)]
            used = sum(
                count
                for (name, zone), count in there.items()
                if name == type_ and is_in(zone, place)
            )
            if asked and used + len(asked) > limit:
                message = (
                    f"the quota {build_quota_name(type_)} allows {format_count(limit, 'server')} "
                    f"in {place or 'the organization'}; the project has {used}, and the config "
                    f"asks for {len(asked)} more: {REMEDY}"
                )
                yield Fault(0, 0, asked[0].type_path, message)


def get_organization(api: ScalewayAPI) -> str:
    """The id of the organization that the project is of.

    Raises:
        RequestError: the key may not read it, or no answer came.
    """
    found = api.ask(
        "GET", f"/account/v3/projects/{api.project}", "find the project's organization", patience=0
    )
    return str(found.get("organization_id") or "")


def read_quota(api: ScalewayAPI, organization: str, type_: str) -> Json:
    """The quota of a server type; empty where the API knows none.

    Raises:
        RequestError: the key may not read it, or no answer came.
    """
    name = build_quota_name(type_)
    query = {"organization_id": organization}
    try:
        return api.ask(
            "GET", f"/iam/v1alpha1/quota/{name}", f"read the quota {name}", query=query, patience=0
        )
    except RequestError as error:
        if error.status == NOT_FOUND:
            return {}
        raise


def build_quota_name(type_: str) -> str:
    return f"cp_servers_type_{type_.replace('-', '_')}"


def list_limits(quota: Json) -> Iterator[tuple[str, int]]:
    """The limits that there are, each with its zone or region; empty for the whole organization."""
    # Answers of before quotas had places tell the limit at their top.
    for one in list_objects(quota, "limits") or [quota]:
        limit = one.get("limit")
        if isinstance(limit, int):
            yield str(one.get("zone") or one.get("region") or ""), limit


def is_in(zone: str, place: str) -> bool:
    return place in {"", zone, find_region(zone)}
