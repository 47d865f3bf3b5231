"""A terminal whose user has written down every answer beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from nvoi.onboarding.prompts import Choice, Prompts, find_index

T = TypeVar("T")
#: Takes what is offered.
ENTER = None


class Script(Prompts):
    """Answers in order; ``said`` is all that was shown, ``hidden`` what was asked without echo.

    Args:
        answers: each a text, a title of a choice, True or False, or ``ENTER``.
        width: the terminal's columns.
    """

    def __init__(self, *answers: str | bool | None, width: int = 80) -> None:
        self._answers = list(answers)
        self._width = width
        self.asked: list[str] = []
        self.hidden: list[str] = []
        self.said: list[str] = []

    @property
    def width(self) -> int:
        return self._width

    @property
    def left(self) -> int:
        """Answers that were not asked for."""
        return len(self._answers)

    def text(self, message: str, default: str) -> str:
        answer = self._next(message)
        return default if answer is ENTER else str(answer)

    def secret(self, message: str) -> str:
        self.hidden.append(message)
        return self.text(message, "")

    def confirm(self, message: str, *, default: bool) -> bool:
        answer = self._next(message)
        return default if answer is ENTER else bool(answer)

    def choose(self, message: str, choices: Sequence[Choice[T]], default: T | None) -> T:
        answer = self._next(message)
        if answer is not ENTER:
            return next(choice.value for choice in choices if choice.title == answer)
        return choices[find_index(choices, default)].value

    def say(self, text: str = "") -> None:
        self.said.append(text)

    def show(self, text: str) -> None:
        self.said.append(text)

    def _next(self, message: str) -> str | bool | None:
        self.asked.append(message)
        return self._answers.pop(0)
