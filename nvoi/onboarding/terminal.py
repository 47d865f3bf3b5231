"""Questions at a terminal, by questionary or as plain lines, and the way back from each."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, TypeVar

import questionary
from prompt_toolkit.application import Application, get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.input import create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from prompt_toolkit.output import ColorDepth, Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from questionary import Question

from nvoi.onboarding.prompts import (
    BACK,
    NONE,
    BackError,
    Choice,
    Prompts,
    clamp_width,
    find_index,
)
from nvoi.signals import ENDING

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], object]
#: Seconds in which what follows Esc belongs to it: a key such as an arrow sends several bytes.
ESCAPE_SECONDS = 0.1
#: More choices than this have no keys of their own: digits and letters are all that there are.
MOST_NUMBERED = 36


def open_prompts(environ: Mapping[str, str]) -> RetracingPrompts:
    """What asks at this terminal, as the environment describes it."""
    if environ.get("TERM", "dumb") in {"dumb", "unknown", ""}:
        plain = Prompts()
        plain.say(
            f"A blank line takes what is in [brackets]; {NONE} answers with nothing. {BACK} goes "
            "back to the question before. Ctrl-C ends it, and nothing is saved."
        )
        return RetracingPrompts(plain)
    prompts = TerminalPrompts(colour=not environ.get("NO_COLOR"))
    prompts.say("Esc goes back to the question before. Ctrl-C ends it, and nothing is saved.")
    return RetracingPrompts(prompts)


class TerminalPrompts(Prompts):
    """Questions with a cursor, on standard input and output."""

    def __init__(self, *, colour: bool) -> None:
        self._output = open_output()
        self._settings: dict[str, Any] = {"input": create_input(), "output": self._output}
        if not colour:
            self._settings["color_depth"] = ColorDepth.DEPTH_1_BIT

    @property
    def width(self) -> int:
        return clamp_width(self._output.get_size().columns)

    def text(self, message: str, default: str) -> str:
        return str(self._ask(questionary.text(message, default=default, **self._settings)))

    def secret(self, message: str) -> str:
        return str(self._ask(questionary.password(message, **self._settings)))

    def confirm(self, message: str, *, default: bool) -> bool:
        """Yes or no; Enter ends it, so that none is left over for the next question."""
        question = questionary.confirm(message, default, auto_enter=False, **self._settings)
        return bool(self._ask(question))

    def choose(self, message: str, choices: Sequence[Choice[T]], default: T | None) -> T:
        # By their numbers: questionary takes a value of None for the title.
        items = [questionary.Choice(choice.title, index) for index, choice in enumerate(choices)]
        question = questionary.select(
            message,
            items,
            default=items[find_index(choices, default)],
            instruction=" ",
            use_shortcuts=len(items) <= MOST_NUMBERED,
            use_jk_keys=False,
            **self._settings,
        )
        return choices[int(self._ask(question))].value

    def _ask(self, question: Question) -> Any:
        application = question.application
        application.key_bindings = merge_key_bindings(
            [application.key_bindings or KeyBindings(), build_bindings()]
        )
        application.ttimeoutlen = ESCAPE_SECONDS
        with ended_by_signals(application):
            try:
                return question.unsafe_ask()
            except EOFError:
                raise KeyboardInterrupt from None


@contextmanager
def ended_by_signals(application: Application[Any]) -> Iterator[None]:
    """Inside, a signal that nvoi handles ends the question that ``application`` asks.

    What the signal's handler raises is raised after that: raised where the signal finds the event
    loop, it may get past what gives the terminal back.
    """
    raised: list[KeyboardInterrupt] = []

    def end() -> None:
        future = application.future
        if raised and future and not future.done():
            application.exit(exception=raised[-1])

    def handle(before: Handler, number: int, frame: FrameType | None) -> None:
        try:
            before(number, frame)
        except KeyboardInterrupt as interruption:
            raised.append(interruption)
            if application.loop:
                application.loop.call_soon_threadsafe(end)

    # For a signal that came before there was a loop.
    application.pre_run_callables.append(end)
    handlers = {number: signal.getsignal(number) for number in ENDING}
    taken = {number: before for number, before in handlers.items() if callable(before)}
    for number, before in taken.items():
        signal.signal(number, partial(handle, before))
    try:
        yield
    finally:
        for number, before in taken.items():
            # A first Ctrl-C sets what the second one does.
            if signal.getsignal(number) is not signal.SIG_DFL:
                signal.signal(number, before)
        if raised:
            raise raised[-1]


def build_bindings() -> KeyBindings:
    """What every kind of question takes: Esc, Ctrl-D, Ctrl-Z, a SIGINT that was not typed."""
    bindings = KeyBindings()

    @bindings.add("<sigint>")
    def interrupt(event: KeyPressEvent) -> None:
        event.app.exit(exception=KeyboardInterrupt())

    @bindings.add("c-d", filter=Condition(lambda: not get_app().current_buffer.text))
    def end(event: KeyPressEvent) -> None:
        event.app.exit(exception=EOFError())

    @bindings.add("escape", eager=True)
    def go_back(event: KeyPressEvent) -> None:
        event.app.exit(exception=BackError())

    @bindings.add("c-z")
    def suspend(event: KeyPressEvent) -> None:
        event.app.suspend_to_background()

    return bindings


def open_output() -> Output:
    """Standard output.

    The terminal is not asked where its cursor is: the answer is needed by menus alone that
    open upwards, and one that gives none is waited for at each question.
    """
    output = create_output(sys.stdout)
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False
    return output


@dataclass(frozen=True)
class Event:
    """An answer, or what was done once between two questions."""

    value: Any
    is_answer: bool = True


class RetracingPrompts(Prompts):
    """Another's questions, each of which leads back to the one before.

    An interview is a function of its answers. To go back, it begins anew, and all answers but the
    last are given for the user; what is printed meanwhile was seen already. So no question needs
    to know which one came before it.
    """

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
