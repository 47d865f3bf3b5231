"""What ~/.ssh/config says of a host, held against what ssh(1) reads in it."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from nvoi.errors import ConfigError
from nvoi.ssh.host import Host
from nvoi.ssh.routes import Destination, Routes, read_routes

NAMES = ("web", "web-2", "10.0.0.5", "db.example.com", "other")
CONFIGS = {
    "values": "Host web\n  HostName 10.0.0.5\n  User deploy\n  Port 2222\n  HostKeyAlias web-key\n",
    "forms": 'host=web\n\thostname = "10.0.0.5" # the first\n\tPORT=2222\n# done\nUser "me" #x\n',
    "quotes": (
        'Match host="web,web-2" user \'me\',root,no"body"\n  Port 23\n'
        "Host 'db.example.com'\n  HostKeyAlias 'a'\"b\"-c #d\n"
    ),
    "the first counts": "Host web-*\n  User a\nHost web*\n  User b\n  Port 23\nUser c\nPort 24\n",
    "patterns": "Host web* !web-2\n  User a\nHost *.example.com 10.?.0.*\n  Port 23\n",
    "all but some": "Host !web\n  User never\nHost * !web !10.*\n  User a\n",
    "name in name": "Host web db*\n  HostName %h.internal%%x.example.com\n",
    "match": (
        "Match originalhost web,web-2 user deploy\n  Port 23\nMatch !host 10.* all\n  Port 24\n"
    ),
    "match what was set": (
        "Host web\n  HostName 10.0.0.5\n  User deploy\n"
        "Match host 10.0.0.* user deploy\n  Port 23\nMatch user nobody\n  Port 24\n"
        "Match all\n  HostKeyAlias seen\n"
    ),
    "match a name that was made": "Host web\n  HostName %h.lan\nMatch host=web.lan\n  Port 23\n",
    "match before it was set": "Match host 10.*\n  Port 23\nHost web\n  HostName 10.0.0.6\n",
    "jumps": (
        "Host web\n  ProxyJump none\nHost web*\n  ProxyJump a,me@b:23,ssh://c:24\n"
        "Host db*\n  ProxyCommand none\n  ProxyJump d\nHost *\n  ProxyJump e\n"
        "Match host a,b,c,d,e\n  User x\n"
    ).replace("Host *\n  ProxyJump e", "Host 10.*\n  ProxyJump [::1]:2200"),
    "keys": (
        "Host web\n  IdentityFile ~/.ssh/one\n  IdentitiesOnly yes\n"
        'Host web*\n  IdentityFile "/keys/a b"\n  IdentityFile ~/.ssh/one\n'
        "Host *\n  IdentityFile /keys/%%n-%n-%h-%p-%r\n"
    ),
    "cases": (
        "Host WEB\n  User a\nMatch originalhost WEB\n  Port 23\n"
        "Host web-2\n  HostName Web.LAN\nMatch host *.Lan\n  Port 24\n"
        "Match user NOBODY\n  HostKeyAlias never\n"
    ),
    "include": "Include {folder}/one {folder}/no-such\nUser last\nHost web\n  Port 99\n",
    "include in a block": (
        "Host web-2\n  Include {folder}/one\n  Port 25\nMatch host db*\n  Include {folder}/t*\n"
        "  User after\n"
    ),
    "include in a block it leaves": "Match host web*\n  Include {folder}/away\n  User u\n",
}
INCLUDED = {
    "one": "Port 23\nHost web*\n  User one\n  HostName one.%h\n",
    "away": "HostName away.lan\nHost *\n  Port 28\n",
    "two": "Match user nobody\n  Port 26\nHost *.com\n  Port 27\n",
}


def write(home: Path, text: str) -> Path:
    folder = home / ".ssh"
    folder.mkdir(exist_ok=True, mode=0o700)
    for name, included in INCLUDED.items():
        (folder / name).write_text(included)
    file = folder / "config"
    file.write_text(text.replace("{folder}", str(folder)))
    return file


def build(home: Path, text: str, address: str, **given: object) -> Host:
    write(home, text)
    routes = read_routes({"HOME": str(home), "TOKEN": "secret"})
    return routes.build_host(Destination(address, name="web-1", **given))  # type: ignore[arg-type]


def ask_ssh(file: Path, address: str, *options: str) -> dict[str, list[str]]:
    words = ["ssh", "-G", "-F", str(file), *options, address]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.skipif(not shutil.which("ssh"), reason="needs ssh(1)")
@pytest.mark.parametrize("address", NAMES)
@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_read_as_ssh_reads_it(name: str, address: str, tmp_path: Path) -> None:
    file = write(tmp_path, CONFIGS[name])
    options = ("-l", "nobody", "-p", "7") if address == "other" else ()
    given = {"user": "nobody", "port": 7} if options else {}
    host = build(tmp_path, CONFIGS[name], address, **given)
    expected = ask_ssh(file, address, *options)
    assert [host.hostname.lower()] == expected["hostname"]
    assert [host.user] in (expected["user"], ["root"])
    assert host.user != "root" or expected["user"] == [getpass.getuser()]
    assert [str(host.port)] == expected["port"]
    assert [host.route.alias] == expected.get("hostkeyalias", [""])
    assert [["no", "yes"][host.route.only_key_files]] == expected["identitiesonly"]
    jump = expected.get("proxyjump", ["none"])[0]
    assert (host.route.jump is None) == (jump == "none")
    if host.route.jump is not None:
        assert host.route.jump.address in jump.rpartition(",")[2]
    if name == "keys":
        tokens = {"%h": host.hostname, "%n": address, "%p": str(host.port), "%r": host.user}
        files = []
        for text in expected["identityfile"]:
            path = text.replace("~", str(tmp_path)).replace("%%", "%\0")
            for token, value in tokens.items():
                path = path.replace(token, value)
            files.append(Path(path.replace("\0", "")))
        assert list(host.route.key_files or ()) == files


def test_the_deploy_config_comes_first(tmp_path: Path) -> None:
    text = (
        "Host web\n  HostName 10.0.0.5\n  User me\n  Port 23\nMatch user deploy\n  HostKeyAlias k"
    )
    host = build(tmp_path, text, "web", user="deploy", port=24)
    assert (host.user, host.port, host.hostname, host.label) == ("deploy", 24, "10.0.0.5", "k")
    host = build(tmp_path, text, "web")
    assert (host.user, host.port, host.label) == ("me", 23, "[10.0.0.5]:23")
    host = build(tmp_path, text, "elsewhere")
    assert (host.user, host.port, host.label) == ("root", 22, "elsewhere")
    assert host == Host("web-1", "elsewhere")


def test_without_a_file_all_ways_are_direct(tmp_path: Path) -> None:
    for environ in ({}, {"HOME": ""}, {"HOME": str(tmp_path)}):
        routes = read_routes(environ)
        assert routes.build_host(Destination("web")) == Host("web", "web")


def test_a_jump_has_its_own_user_and_port_and_the_first_its_own_way(tmp_path: Path) -> None:
    text = (
        "Host web\n  ProxyJump a.example,me@b:23\n"
        "Host a.*\n  ProxyJump gate\n  HostName 192.0.2.1\n"
        "Host b\n  ProxyJump never\n  User no\n  Port 99\n"
        "Host gate\n  User keeper\n  Port 2200\n"
    )
    b = build(tmp_path, text, "web").route.jump
    assert b is not None
    assert (b.address, b.user, b.port) == ("b", "me", 23)
    a = b.route.jump
    assert a is not None
    assert (a.hostname, a.user, a.port) == ("192.0.2.1", getpass.getuser(), 22)
    gate = a.route.jump
    assert gate is not None
    assert (gate.hostname, gate.user, gate.port, gate.route.jump) == ("gate", "keeper", 2200, None)


def test_a_jump_that_is_a_server_of_the_config_is_reached_as_that_says(tmp_path: Path) -> None:
    text = "Host gate\n  HostName 192.0.2.1\n  Port 23\nHost web*\n  ProxyJump gate\n"
    write(tmp_path, text)
    main = Destination("192.0.2.1", port=23, name="main-1", host_keys=("ssh-ed25519 AAAA",))
    routes = replace(read_routes({"HOME": str(tmp_path)}), servers=(main,))
    jump = routes.build_host(Destination("web")).route.jump
    assert jump == routes.build_host(main)
    assert (jump.name, jump.user, jump.host_keys) == ("main-1", "root", ("ssh-ed25519 AAAA",))
    # Another user there is another login.
    (tmp_path / ".ssh" / "config").write_text(text.replace("ProxyJump gate", "ProxyJump me@gate"))
    routes = replace(read_routes({"HOME": str(tmp_path)}), servers=(main,))
    jump = routes.build_host(Destination("web")).route.jump
    assert jump is not None
    assert (jump.name, jump.user, jump.host_keys) == ("gate", "me", ())


def test_tokens_and_places_stand_for_what_they_name(tmp_path: Path) -> None:
    text = (
        "Host web\n  HostName 10.0.0.5\n  ProxyJump %r@gate-%n:%p\n  Port 23\n"
        "  IdentityFile %d/keys/${TOKEN}\n  IdentityAgent ~/agent.sock\n"
        "  UserKnownHostsFile ~/one /two\n  GlobalKnownHostsFile none\n"
        "  StrictHostKeyChecking yes\n"
    )
    route = build(tmp_path, text, "web", user="u").route
    assert route.jump is not None
    assert (route.jump.address, route.jump.user, route.jump.port) == ("gate-web", "u", 23)
    assert route.key_files == (tmp_path / "keys" / "secret",)
    assert route.agent == str(tmp_path / "agent.sock")
    assert route.known_hosts == (tmp_path / "one", Path("/two"))
    assert route.is_strict


@pytest.mark.parametrize(
    ("value", "agent"),
    [("none", ""), ("SSH_AUTH_SOCK", None), ("$TOKEN", "secret"), ("/a", "/a")],
)
def test_an_agent_of_its_own(value: str, agent: str | None, tmp_path: Path) -> None:
    assert build(tmp_path, f"IdentityAgent {value}", "web").route.agent == agent


@pytest.mark.parametrize("value", ["no", "off", "ask", "accept-new"])
def test_nothing_weakens_the_check_of_host_keys(value: str, tmp_path: Path) -> None:
    text = f"StrictHostKeyChecking {value}\nUserKnownHostsFile /dev/null\n"
    route = build(tmp_path, text, "web").route
    assert not route.is_strict
    # It is read beside the usual files.
    assert route.known_hosts == (Path("/dev/null"),)


def test_no_key_file_where_none_shall_be_shown(tmp_path: Path) -> None:
    assert build(tmp_path, "IdentityFile none", "web").route.key_files == ()
    assert build(tmp_path, "User me", "web").route.key_files is None


@pytest.mark.parametrize(
    ("text", "number", "message"),
    [
        ("User me\n???\n", 2, "no line of ssh_config"),
        ("\n\nHost\n", 3, "Host has no value"),
        ("User # nobody\n", 1, "User has no value"),
        ('User me\nHost "web\n', 2, "a quote of Host is not closed"),
        ("Match host=web'\n", 1, "a quote of Match is not closed"),
        ("Port none\n", 1, "`none` is no port: write a number from 1 to 65535"),
        ("Port 65536\n", 1, "no port"),
        ("IdentitiesOnly perhaps\n", 1, "identitiesonly must be yes or no"),
        ("StrictHostKeyChecking perhaps\n", 1, "must be yes or no"),
        ("Match user\n  Port 23\n", 1, "`Match user` has no argument"),
        ("IdentityFile ~/%j\n", 1, "%j in identityfile stands for nothing here"),
        ("IdentityFile ${NO_SUCH}\n", 1, "${NO_SUCH} in identityfile stands for nothing"),
        ("IdentityFile ~/50%\n", 1, "% in identityfile stands for nothing"),
        ("HostName %r\n", 1, "%r in hostname stands for nothing"),
        ('HostName "a b"\n', 1, "`a b` cannot be the name of a host"),
        ("HostKeyAlias *\n", 1, "`*` cannot be the name of a host"),
        ("ProxyJump me@\n", 1, "`me@` in ProxyJump is no host"),
        ("ProxyJump ::1\n", 1, "IPv6 address in brackets"),
        ("Host web\n  ProxyJump a,,b\n", 2, "`` in ProxyJump is no host"),
        ("ProxyJump a:0\n", 1, "`0` is no port"),
        ("Host web\n  ProxyCommand nc %h %p\n", 2, "nvoi runs no ProxyCommand: write ProxyJump"),
        ("KnownHostsCommand /bin/keys\n", 1, "nvoi runs no KnownHostsCommand"),
        ("RevokedHostKeys /etc/revoked\n", 1, "write @revoked lines into known_hosts"),
        ("Match exec true\n  Port 23\n", 2, "whether `Match exec` holds"),
        ('Match host web exec "a b"\n  Port 23\n', 2, "write Host or Match host"),
        ("Match final host web\n  Port 23\n", 2, "whether `Match final` holds"),
        ("Match canonical all\n  User me\n", 2, "whether `Match canonical` holds"),
        ("Match !all\n", 1, "`Match !all` has no argument"),
        ("Include config\n", 1, "include one another too deeply"),
        ("Host *\n  ProxyJump gate\n", 2, "in a circle: web → gate → gate"),
        ("Host web\n  ProxyJump a\nHost a\n  ProxyJump me@web:22\n", 2, "circle: web → a → web"),
        ("Host *\n  ProxyJump a%h\n", 2, "in a circle: web → aweb → aaweb"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    text: str, number: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(tmp_path, text, "web")
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"{tmp_path}/.ssh/config:{number}:1: ")
    assert message in str(caught.value)


def test_a_fault_of_an_included_file_names_that(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "more").write_text("User me\nPort x\n")
    with pytest.raises(ConfigError, match=r"/\.ssh/more:2:1: "):
        build(tmp_path, "Include mor?\n", "web")


@pytest.mark.parametrize(
    "text",
    [
        "Host other\n  ProxyCommand nc %h %p\n",
        "Host web\n  ProxyJump none\nHost *\n  ProxyCommand nc %h %p\n",
        "ProxyJump none\nMatch exec true\n  ProxyJump gate\n",
        "Match host other exec true\n  Port 23\n",
        "Match exec true host other\n  Port 23\n",
        "Match exec true\n  ForwardAgent yes\n",
        "Match localnetwork 10.0.0.0/8 host other\n  Port 23\n",
        "KnownHostsCommand none\n",
        "RemoteCommand echo don\\'t\n",
        "UnknownOption whatever\nCanonicalizeHostname yes\nCanonicalDomains example.com\n",
        "Host *\n  ProxyJump gate\n".replace("*", "* !web !gate"),
    ],
)
def test_what_does_not_count_for_a_host_does_not_stop_it(text: str, tmp_path: Path) -> None:
    assert build(tmp_path, text, "web") == Host("web-1", "web")


def test_no_command_of_it_is_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    text = f'Match exec "touch {trace}"\n  User me\nHost *\n  ProxyCommand touch {trace}\n'
    with pytest.raises(ConfigError):
        build(tmp_path, text, "web")
    assert not trace.exists()


def test_a_file_that_others_can_change_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "User me\n")
    file.chmod(0o646)
    with pytest.raises(ConfigError, match=f"chmod go-w {file}"):
        read_routes({"HOME": str(tmp_path)})
    file.chmod(0o644)
    assert read_routes({"HOME": str(tmp_path)}).lines
    if os.getuid() == 0:
        # As the usual umask has it where the group is the user's alone.
        file.chmod(0o664)
        assert read_routes({"HOME": str(tmp_path)}).lines
        os.chown(file, 0, 4242)
        with pytest.raises(ConfigError, match="others may write to it"):
            read_routes({"HOME": str(tmp_path)})
        os.chown(file, 4242, 0)
        with pytest.raises(ConfigError, match=r"belongs to the user 4242.*run `chown 0 "):
            read_routes({"HOME": str(tmp_path)})


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / ".ssh" / "config").mkdir(parents=True)
    with pytest.raises(ConfigError, match="config: cannot be read: Is a directory") as caught:
        read_routes({"HOME": str(tmp_path)})
    assert caught.value.exit_code == 2


def test_who_is_not_known_to_this_machine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", fail)
    with pytest.raises(Exception, match="set USER"):
        build(tmp_path, "User me\n", "web")
    assert Routes().build_host(Destination("web")) == Host("web", "web")
