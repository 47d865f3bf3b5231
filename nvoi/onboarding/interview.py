"""What every section of the wizard has at hand while it asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nvoi.config.schema import ComputeProvider
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.checkout import Checkout
from nvoi.onboarding.prompts import Prompts


@dataclass(frozen=True)
class Verdict:
    """Whether a dashboard took a test call, and what to say of it."""

    ok: bool
    text: str


@dataclass(frozen=True)
class Interview:
    """The terminal, and what is known beside the answers.

    Args:
        prompts: where it is asked.
        checkout: what the app's files suggest.
        original: the answers of the config that is being edited; None where there is none.
        call_dashboard: makes a signed test call to a callback URL.
        is_deployable: whether this version of nvoi can deploy to a provider.
    """

    prompts: Prompts
    checkout: Checkout
    original: Answers | None
    call_dashboard: Callable[[str], Verdict]
    is_deployable: Callable[[ComputeProvider], bool]
