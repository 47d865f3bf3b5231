"""Does works side by side, waits for what they began, and words what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hcloud.actions import BoundAction

from nvoi import parallel
from nvoi.errors import ConfigError, NvoiError, RequestError
from nvoi.providers.hetzner.api import API, log
from nvoi.providers.hetzner.plan import Work
from nvoi.providers.hetzner.refusals import explain, find_config_fault, is_gone


def change(api: API, works: Sequence[Work], made: list[str]) -> dict[Work, NvoiError]:
    """Do all of them, going on past failures, which are returned.

    Args:
        made: gets what they make.

    Raises:
        NvoiError: what they began has not ended by the deadline.
    """
    results = parallel.work_on_all(works, attempt)
    errors = {work: one for work, one in results.items() if isinstance(one, NvoiError)}
    made += [one.thing for one in works if one.verb == "makes" and one not in errors]
    begun = {
        action.id: (work, action)
        for work, actions in results.items()
        if not isinstance(actions, NvoiError)
        for action in actions
    }
    failed = api.wait_for_actions([action for _, action in begun.values()])
    return errors | {begun[number][0]: error for number, error in failed.items()}


def attempt(work: Work) -> Sequence[BoundAction] | NvoiError:
    """Do it; an error is returned, so that others go on."""
    log.info("%s", work)
    try:
        return work.do()
    except parallel.CancelledError:
        raise
    except RequestError as error:
        return [] if work.verb == "deletes" and is_gone(error) else error
    except NvoiError as error:
        return error


def build_error(errors: Mapping[Work, NvoiError], *, is_untouched: bool) -> NvoiError:
    """One error of all; of the config where that is at fault, and nothing was changed yet."""
    refusals = [one for one in errors.values() if isinstance(one, RequestError)]
    faults = dict.fromkeys(fault for one in refusals if (fault := find_config_fault(one)))
    if faults and is_untouched:
        return ConfigError("config", list(faults))
    told = [explain(error, work.thing) for work, error in errors.items()]
    hints = dict.fromkeys(one.hint for one in told if one.hint)
    return NvoiError("\n".join(one.message for one in told), hint="; ".join(hints))
