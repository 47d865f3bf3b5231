"""How hosts are reached: what the config says of them, then the user's ``~/.ssh/config``."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nvoi.config.fields import LARGEST_PORT
from nvoi.ssh.host import SSH_PORT, Host, Route
from nvoi.ssh.ssh_config import (
    ConfigLine,
    Options,
    check_name,
    expand,
    expand_home,
    get_local_user,
    look_up,
    read_lines,
)

#: [USER@]HOST[:PORT], also as a URI; an IPv6 address is in brackets.
JUMP = re.compile(r"(?:ssh://)?(?:(.+)@)?(?:\[([^\[\]]+)\]|([^\[\]:@/]+))(?::(\d+))?/?")
#: Hosts on one way: more than anybody has.
MOST_HOSTS = 16
ANSWERS = {"yes": True, "true": True, "no": False, "false": False}
#: Of StrictHostKeyChecking beside these: what nvoi does anyhow, or what would be less.
LOOSE = {"ask": False, "accept-new": False, "off": False}


@dataclass(frozen=True)
class Destination:
    """A host as the config or a ProxyJump names it.

    Attributes:
        address: what it is called there: an address, a name, or an alias of ``~/.ssh/config``.
        user: who logs in; None is for ``~/.ssh/config`` to say.
        port: as ``user``.
        default_user: who logs in where neither says.
        name: how the log names it; empty where it has no other name than its address.
        host_keys: as those of ``Host``.
    """

    address: str
    user: str | None = None
    port: int | None = None
    default_user: str = "root"
    name: str = ""
    host_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Routes:
    """The ways to hosts; without lines all are direct.

    Args:
        lines: those of ``~/.ssh/config``.
        home: the user's home.
        environ: the caller's environment.
        servers: those of the config. Others may be behind one of them: it is reached as the
            config says, and over one connection.
    """

    lines: Sequence[ConfigLine] = ()
    home: Path = field(default_factory=Path)
    environ: Mapping[str, str] = field(default_factory=dict)
    servers: Sequence[Destination] = ()
    _found: dict[tuple[str, str | None], Options] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def lead(self, host: Host) -> Host:
        """``host`` with the way to it.

        Raises:
            ConfigError: a line for it is wrong, or one that nvoi cannot follow counts.
        """
        given = Destination(
            host.address, host.user, host.port, name=host.name, host_keys=host.host_keys
        )
        return self.build_host(given)

    def build_host(
        self, given: Destination, *, before: tuple[Host, ...] = (), jump: Host | None = None
    ) -> Host:
        """The host with its user, its port and the way to it.

        Args:
            before: the hosts that it is on the way to.
            jump: what it is reached through, where one of them says that.

        Raises:
            ConfigError: a line for it is wrong, or one that nvoi cannot follow counts.
        """
        options, here = self._find_place(given)
        line = options.find("proxyjump")
        if jump is None and line is not None and not line.is_none:
            jump = self._build_jump(line, given.address, here, before)
        return Host(
            name=given.name or given.address,
            address=given.address,
            port=here.port,
            user=here.user,
            host_keys=given.host_keys,
            route=self._build_route(options, given.address, here, jump),
        )

    def _find_place(self, given: Destination) -> tuple[Options, Host]:
        """What the file says of it, and where it is dialled as whom."""
        asked = given.address, given.user
        options = self._found.get(asked) or look_up(self.lines, *asked)
        self._found[asked] = options
        port = given.port or _read_port(options) or SSH_PORT
        user = given.user or options.user or given.default_user
        return options, Host("", options.hostname, port, user)

    def _build_jump(
        self, line: ConfigLine, address: str, here: Host, before: tuple[Host, ...]
    ) -> Host | None:
        """The last host that ``line`` names. The first is reached as its own lines say."""
        places = [(host.address, host.port) for host in before]
        if (here.address, here.port) in places or len(places) == MOST_HOSTS:
            way = " → ".join(host.address for host in (*before, here))
            raise line.build_error(
                f"ProxyJump goes in a circle: {way}: write `ProxyJump none` for {address}"
            )
        tokens = {"h": here.address, "n": address, "p": str(here.port), "r": here.user}
        jump: Host | None = None
        for text in expand(line, line.value, tokens, {}).split(","):
            given = self._recognize(_parse_jump(line, text))
            jump = self.build_host(given, before=(*before, here), jump=jump)
        return jump

    def _recognize(self, given: Destination) -> Destination:
        """The config's server that is meant, or what was given."""
        # Where nobody says who logs in, the config does.
        _, here = self._find_place(replace(given, default_user=""))
        for server in self.servers:
            _, there = self._find_place(server)
            if here == replace(there, user=here.user and there.user):
                return server
        return given

    def _build_route(self, options: Options, address: str, here: Host, jump: Host | None) -> Route:
        tokens = self._build_tokens(address, here) if options.lines else {}

        def list_paths(*names: str) -> tuple[Path, ...]:
            paths = (
                expand_home(expand(line, word, tokens, self.environ), self.home)
                for name in names
                for line in options.lines.get(name, ())
                for word in line.words
                if word.lower() != "none"
            )
            return tuple(dict.fromkeys(paths))

        alias = options.find("hostkeyalias")
        strict = options.find("stricthostkeychecking")
        only = options.find("identitiesonly")
        files = options.lines.get("identityfile")
        return Route(
            hostname="" if options.hostname == address else options.hostname,
            alias=check_name(alias, alias.value) if alias else "",
            key_files=None if files is None else list_paths("identityfile"),
            agent=self._find_agent(options.find("identityagent"), tokens),
            only_key_files=bool(only and _read_answer(only, ANSWERS)),
            known_hosts=list_paths("userknownhostsfile", "globalknownhostsfile"),
            is_strict=bool(strict and _read_answer(strict, ANSWERS | LOOSE)),
            jump=jump,
        )

    def _find_agent(self, line: ConfigLine | None, tokens: Mapping[str, str]) -> str | None:
        if line is None or line.value == "SSH_AUTH_SOCK":
            return None
        if line.is_none:
            return ""
        if line.value.startswith("$") and "{" not in line.value:
            return self.environ.get(line.value[1:], "")
        return str(expand_home(expand(line, line.value, tokens, self.environ), self.home))

    def _build_tokens(self, address: str, here: Host) -> dict[str, str]:
        machine = socket.gethostname()
        return {
            "d": str(self.home),
            "h": here.address,
            "i": str(os.getuid()),
            "L": machine.partition(".")[0],
            "l": machine,
            "n": address,
            "p": str(here.port),
            "r": here.user,
            "u": get_local_user(),
        }


def read_routes(environ: Mapping[str, str]) -> Routes:
    """The ways to hosts, by the ``~/.ssh/config`` of the ``HOME`` in ``environ``.

    Raises:
        ConfigError: a file cannot be read, others can change it, or a line is broken.
    """
    user = environ.get("HOME")
    if not user:
        return Routes()
    home = Path(user)
    return Routes(tuple(read_lines(home / ".ssh" / "config", home)), home, environ)


def _parse_jump(line: ConfigLine, text: str) -> Destination:
    match = JUMP.fullmatch(text)
    user, bracketed, name, port = match.groups() if match else (None, None, None, None)
    address = bracketed or name
    if not address:
        raise line.build_error(
            f"`{text}` in ProxyJump is no host: write [USER@]HOST[:PORT], and an IPv6 address in "
            "brackets"
        )
    return Destination(
        check_name(line, address),
        user,
        _parse_port(line, port) if port else None,
        default_user=get_local_user(),
    )


def _read_port(options: Options) -> int | None:
    line = options.find("port")
    return _parse_port(line, line.value) if line else None


def _parse_port(line: ConfigLine, text: str) -> int:
    if text.isascii() and text.isdecimal() and 0 < int(text) <= LARGEST_PORT:
        return int(text)
    raise line.build_error(f"`{text}` is no port: write a number from 1 to {LARGEST_PORT}")


def _read_answer(line: ConfigLine, answers: Mapping[str, bool]) -> bool:
    answer = answers.get(line.value.lower())
    if answer is None:
        raise line.build_error(f"{line.keyword} must be yes or no")
    return answer
