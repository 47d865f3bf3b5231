"""Asks whether Cloudflare brings domains to the services."""

from __future__ import annotations

from dataclasses import replace

from nvoi.onboarding.answers import Answers
from nvoi.onboarding.interview import Interview
from nvoi.onboarding.providers import CLOUDFLARE, ask_account

ON_SERVERS = f"{CLOUDFLARE.needs} Without it services have no domain."
ON_THIS_MACHINE = (
    "Domains are for servers: on this machine each service is on localhost, and what is "
    "answered here counts once the app moves."
)


def ask_domains(interview: Interview, answers: Answers) -> Answers:
    """Cloudflare or not; without it no service keeps a domain."""
    prompts = interview.prompts
    prompts.say(f"  {ON_THIS_MACHINE if answers.is_local else ON_SERVERS}")
    if prompts.confirm("Serve domains through Cloudflare?", default=bool(answers.cloudflare)):
        return replace(answers, cloudflare=ask_account(prompts, CLOUDFLARE, answers.cloudflare))
    if answers.is_local:
        return replace(answers, cloudflare=None)
    apps = tuple(replace(app, domain=None, subdomain=None) for app in answers.apps)
    return replace(answers, cloudflare=None, apps=apps)
