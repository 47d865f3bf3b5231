"""What asks in place of the command."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from prompt_toolkit.input.vt100 import raw_mode

from nvoi.cli import main
from nvoi.onboarding.prompts import Choice
from nvoi.onboarding.terminal import open_prompts


def ask_each_kind_twice() -> int:
    """A question of each kind, which is ended twice."""
    prompts = open_prompts(os.environ)
    choices = [Choice("one", 1), Choice("two", 2)]
    for ask in (
        lambda: prompts.text("A line?", "offered"),
        lambda: prompts.choose("A choice?", choices, None),
        lambda: prompts.confirm("Yes or no?", default=True),
        lambda: prompts.secret("A secret?"),
    ):
        for _ in range(2):
            try:
                ask()
            except KeyboardInterrupt:
                prompts.say("ended")
    return 0


def stop_at_the_end_of_a_question() -> int:
    """Runs nvoi, which gets SIGTERM while the first question gives the terminal back."""

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is raw_mode.__exit__.__code__:
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGTERM)

    sys.setprofile(watch)
    return main(["onboard"])
