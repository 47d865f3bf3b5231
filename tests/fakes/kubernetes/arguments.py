"""kubectl's arguments."""

from __future__ import annotations

import re

from tests.fakes.kubernetes.kinds import KubectlError

SHORT = {"n": "namespace", "o": "output", "l": "selector", "f": "filename", "A": "all-namespaces"}
SHORT |= {"c": "container", "p": "previous", "R": "recursive"}
SWITCHES = {"all-namespaces", "server-side", "force-conflicts", "ignore-not-found", "wait"}
SWITCHES |= {"follow", "previous", "overwrite", "ignore-daemonsets", "delete-emptydir-data"}
SWITCHES |= {"force", "all", "now", "no-headers", "timestamps", "stdin", "tty"}
TERM = re.compile(r"\s*(!?)\s*([\w./-]+)\s*(?:(==|!=|=)\s*([\w.-]*)|(in|notin)\s*\(([^)]*)\))?\s*")


class Arguments:
    """A call's verb, options and words; ``rest`` is what stands behind ``--``."""

    def __init__(self, argv: list[str]) -> None:
        self.options: dict[str, str] = {}
        self.words: list[str] = []
        self.rest: list[str] = []
        waiting = list(argv)
        while waiting:
            word = waiting.pop(0)
            if word == "--":
                self.rest = waiting
                break
            if word == "-" or not word.startswith("-"):
                self.words.append(word)
                continue
            name, equals, value = word.lstrip("-").partition("=")
            if not word.startswith("--"):
                # `logs -f` follows; everywhere else it is a file.
                follows = name == "f" and self.words[:1] == ["logs"]
                name = "follow" if follows else SHORT.get(name, name)
            if not equals and name in SWITCHES:
                value = "true"
            elif not equals:
                value = waiting.pop(0) if waiting else "true"
            self.options[name] = value
        self.verb = self.words.pop(0) if self.words else ""

    def has(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.options.get(name, "false") not in ("false", "none")

    @property
    def namespace(self) -> str | None:
        """Where to look; None is everywhere."""
        return None if self.has("all-namespaces") else self.options.get("namespace", "default")


def matches(selector: str | None, labels: dict[str, str]) -> bool:
    """Whether labels are what a selector asks for."""
    position, text = 0, selector or ""
    while position < len(text):
        term = TERM.match(text, position)
        if term is None or text[term.end() : term.end() + 1] not in ("", ","):
            raise KubectlError(f"error: unable to parse requirement: {text[position:]}")
        position = term.end() + 1
        if not fits(term.groups(), labels):
            return False
    return True


def fits(term: tuple[str | None, ...], labels: dict[str, str]) -> bool:
    """Whether labels are what one term asks for."""
    no, key, sign, value, word, values = term
    own = labels.get(key or "")
    if word:
        is_among = own is not None and own in [one.strip() for one in (values or "").split(",")]
        return is_among == (word == "in")
    if sign:
        return (own == value) == (sign != "!=")
    return (own is None) == bool(no)
