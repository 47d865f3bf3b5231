"""The way back to the question before: what was answered is answered again, without being asked.

An interview is a function of its answers. To go back, it begins anew, and all answers but the last
are given for the user; what is printed meanwhile was seen already. So no question needs to know
which one came before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from nvoi.onboarding.prompts import BackError, Choice, Prompts

T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """An answer, or what was done once between two questions."""

    value: Any
    is_answer: bool = True


class RetracingPrompts(Prompts):
    """Another's questions, each of which leads back to the one before."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts
        self._events: list[Event] = []
        self._position = 0
        #: The answer that was taken back, offered where it is asked for again.
        self._before: Any = None

    @property
    def width(self) -> int:
        return self._prompts.width

    @property
    def _is_replaying(self) -> bool:
        return self._position < len(self._events)

    def retrace(self, conduct: Callable[[], T]) -> T:
        """What ``conduct`` returns, begun anew each time that the user goes back."""
        while True:
            try:
                return conduct()
            except BackError:
                self._take_back()

    def _take_back(self) -> None:
        if not any(event.is_answer for event in self._events):
            self._prompts.say("! this is the first question")
        while self._events:
            event = self._events.pop()
            if event.is_answer:
                self._before = event.value
                break
        self._position = 0

    def text(self, message: str, default: str) -> str:
        def ask(before: str | None) -> str:
            return self._prompts.text(message, default if before is None else before)

        return self._answer(ask, str)

    def secret(self, message: str) -> str:
        # What was typed is not shown, so it cannot be offered either.
        return self._answer(lambda _: self._prompts.secret(message), str)

    def confirm(self, message: str, *, default: bool) -> bool:
        def ask(before: bool | None) -> bool:
            return self._prompts.confirm(message, default=default if before is None else before)

        return self._answer(ask, bool)

    def choose(self, message: str, choices: Sequence[Choice[T]], default: T | None) -> T:
        # By their numbers: what they stand for may be made anew each time.
        def ask(before: int | None) -> int:
            numbers = [Choice(choice.title, number) for number, choice in enumerate(choices)]
            wanted = [choice.value for choice in choices]
            number = wanted.index(default) if default in wanted else None
            return self._prompts.choose(message, numbers, number if before is None else before)

        return choices[self._answer(ask, int)].value

    def refuse(self, reason: str) -> None:
        # No way leads back to it.
        del self._events[self._position - 1 :]
        self._position = len(self._events)
        self._prompts.refuse(reason)

    def once(self, act: Callable[[], T]) -> T:
        if self._is_replaying:
            return self._replay()  # type: ignore[no-any-return]  # it is what `act` has returned
        done = act()
        self._keep(Event(done, is_answer=False))
        return done

    def say(self, text: str = "") -> None:
        if not self._is_replaying:
            self._prompts.say(text)

    def show(self, text: str) -> None:
        if not self._is_replaying:
            self._prompts.show(text)

    def _answer(self, ask: Callable[[Any], T], kind: type[T]) -> T:
        if self._is_replaying:
            return self._replay()  # type: ignore[no-any-return]  # the answer to this question
        before = self._before if isinstance(self._before, kind) else None
        self._before = None
        answer = ask(before)
        self._keep(Event(answer))
        return answer

    def _replay(self) -> Any:
        self._position += 1
        return self._events[self._position - 1].value

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        self._position = len(self._events)
