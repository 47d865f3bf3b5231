"""Asks whether a dashboard follows the deploys, and tries it."""

from __future__ import annotations

from dataclasses import replace

from nvoi.config.fields import parse_callback_url
from nvoi.onboarding.answers import Answers
from nvoi.onboarding.dashboards import DEFAULT_URL, START
from nvoi.onboarding.interview import Interview
from nvoi.onboarding.prompts import Choice, ask

AFTER_TROUBLE = (
    Choice("keep this URL", "keep"),
    Choice("change the URL", "change"),
    Choice("try again", "again"),
    Choice("stream to no dashboard", "none"),
)


def ask_streaming(interview: Interview, answers: Answers) -> Answers:
    """``callback_url``, or none; one that does not answer well is kept if the user wants that."""
    prompts = interview.prompts
    before = answers.callback_url
    if not prompts.confirm("Stream deploy logs to a dashboard?", default=bool(before)):
        return replace(answers, callback_url=None)
    if not before:
        prompts.say(f"  No dashboard yet? {START}")
    url = before or DEFAULT_URL
    action = "change"
    while True:
        if action == "change":
            url = ask(prompts, "Callback URL:", parse_callback_url, url)
        verdict = interview.call_dashboard(url)
        prompts.say(f"{'  ' if verdict.ok else '! '}{verdict.text}")
        action = "keep" if verdict.ok else prompts.choose("What now?", AFTER_TROUBLE, None)
        if action == "none":
            return replace(answers, callback_url=None)
        if action == "keep":
            return replace(answers, callback_url=url)
