"""The lock file on a master: who holds it, and the scripts that hold, read and free it there.

It has up to three lines: the holder's process and token, the holder as JSON, and
``ended TOKEN WHO`` once somebody ended it. Whoever holds ``flock`` on it writes it, and leaves it
when that is given back: it counts while the file is locked. Each script takes what it works on as
arguments, and tells this side what it found in lines of a :data:`MARK`, a word, and what belongs
to it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from nvoi.command import build_script
from nvoi.errors import LockError, NvoiError
from nvoi.ssh.connections import Connections
from nvoi.ssh.host import Host, as_root

#: On the master, for all apps of its cluster.
LOCK_FILE = "/opt/nvoi/deploy.lock"
#: What the lines that the scripts print for this side begin with.
MARK = "nvoi-lock "
#: Seconds that reading or ending a holder may take.
SECONDS = 60.0

#: What the scripts share. A process is the holder if it has the file open and was started
#: with the token: a process of the same number that came later is never taken for it.
SHELL = f"""\
say() {{ printf '{MARK}%s\\n' "$*"; }}
fail() {{ say "$@"; exit 0; }}
for tool in flock timeout; do
  command -v "$tool" >/dev/null || fail unable "there is no program $tool"
done
look() {{
  pid='' owner='' holder='' ended=''
  {{ read -r pid owner; IFS= read -r holder; IFS= read -r ended; }} <"$path"
}}
holds() {{
  case $pid in ''|*[!0-9]*) return 1 ;; esac
  [ -n "$owner" ] && grep -q -- "$owner" "/proc/$pid/cmdline" 2>/dev/null || return 1
  for fd in "/proc/$pid/fd"/*; do
    [ ! "$fd" -ef "$path" ] || return 0
  done
  return 1
}}
"""

#: $1: the lock file. Who holds the lock or had it last, and how that ended; a shared lock cannot
#: be had while somebody holds it.
READ = f"""\
path=$1
{SHELL}
[ -e "$path" ] || fail deleted
exec 9<"$path"
flock -n -s 9 || say locked
look
say owner "$owner"
say holder "$holder"
say mark "$ended"
"""

#: $1: the lock file, $2: who ends it. An empty record ends the holder's claim as well, where
#: the disk has no room for a mark. A run that waited may have the lock before it is seen free.
END = f"""\
path=$1 by=$2
{SHELL}
[ -e "$path" ] || exit 0
exec 9<"$path"
tries=0
while :; do
  flock -n -s 9 && exit 0
  look
  holds && break
  tries=$((tries + 1))
  [ "$tries" -lt 4 ] || fail stuck "$path is locked, but not by a run of nvoi"
  sleep 1
done
was=$holder first=$owner
printf 'ended %s %s\\n' "$owner" "$by" >>"$path" || : >"$path"
kill "$pid"
tries=0
until flock -n -s 9 || timeout 1 flock -s 9; do
  look
  [ "$owner" = "$first" ] || break
  tries=$((tries + 1))
  [ "$tries" -lt 10 ] || fail stuck "process $pid was sent a signal, and did not end"
done
say held "$was"
"""

#: $1: the lock file, $2: the run's token, $3: its record, $4: seconds of silence that end it. Each
#: line of input is a number, and is answered with it. The file is opened anew at each try, as one
#: that was deleted meanwhile locks nothing; and no child but flock has it, so that it is free
#: once this process has ended.
HOLD = f"""\
path=$1 token=$2 record=$3 silence=$4
{SHELL}
umask 077
said=$(mkdir -p -m 0711 -- "${{path%/*}}" 2>&1) || fail unable "$said"
said=$( (: >>"$path") 2>&1) || fail unable "$said"
is_file() {{ [ "$path" -ef "/proc/$$/fd/9" ]; }}
lock() {{
  exec 9<>"$path"
  {{ flock -n 9 || timeout 1 flock 9; }} && is_file
}}
take() {{
  if lock; then
    said=$( (printf '%s %s\\n%s\\n' "$$" "$token" "$record" >"$path") 2>&1 9>&-) ||
      fail unable "$said"
    held=yes
    say held "$beat"
  else
    look
    say busy "$beat" "$holder"
  fi
}}
read_beat() {{
  exec 9>&-
  exec timeout "$silence" sh -c 'read -r beat && echo "$beat"' 2>/dev/null
}}
held=''
while beat=$(read_beat); do
  if [ -z "$held" ]; then take
  elif is_file; then say held "$beat"
  else fail deleted
  fi
done
"""


@dataclass(frozen=True)
class Holder:
    """Whose run holds a lock; all fields are empty where it has not yet said so.

    ``since`` is the moment it began, ISO 8601 in UTC.
    """

    user: str = ""
    machine: str = ""
    since: str = ""
    deploy_id: str = ""
    app: str = ""

    def describe(self) -> str:
        if self == Holder():
            return "a run that has only just begun"
        return (
            f"{self.user or 'somebody'} on {self.machine or 'an unknown machine'}, "
            f"since {self.since or 'an unknown time'} "
            f"(app {self.app or 'unknown'}, deploy {self.deploy_id or 'unknown'})"
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def parse_holder(text: str) -> Holder:
    """The holder that a record tells of; what cannot be read of it stays empty."""
    try:
        record = json.loads(text)
    except ValueError:
        return Holder()
    if not isinstance(record, dict):
        return Holder()
    found = {field.name: record.get(field.name) for field in fields(Holder)}
    return Holder(**{name: value for name, value in found.items() if isinstance(value, str)})


def find_holder(connections: Connections, host: Host, path: str = LOCK_FILE) -> Holder | None:
    """Who holds the lock on ``host``; None where nobody does. Changes nothing.

    Raises:
        NvoiError: the host cannot be asked.
    """
    found = _run(connections, host, READ, path)
    return parse_holder(found["holder"]) if "locked" in found else None


def end_holder(
    connections: Connections, host: Host, by: str, path: str = LOCK_FILE
) -> Holder | None:
    """End whoever holds the lock on ``host``, and wait until it has given it back.

    The run itself learns of it when it next checks its lock, and goes no further. ``by`` is who
    wants it, as that run is told. Returns who it was; None where nobody held it.

    Raises:
        LockError: what holds it is no run of nvoi, or does not end.
        NvoiError: the host cannot be asked.
    """
    who = "".join(one if one.isprintable() else " " for one in by)
    found = _run(connections, host, END, path, who)
    return parse_holder(found["held"]) if "held" in found else None


def find_loss(connections: Connections, host: Host, token: str, path: str) -> str | None:
    """Why the run of ``token`` has lost the lock, None where the host knows of no reason.

    Raises:
        NvoiError: the host cannot be asked.
    """
    found = _run(connections, host, READ, path)
    if "deleted" in found:
        return f"somebody has deleted {path}"
    if found.get("owner") != token:
        return f"another run took it: {parse_holder(found.get('holder', '')).describe()}"
    ended, _, by = found.get("mark", "").partition(f"ended {token} ")
    return f"`nvoi unlock` ended it, by {by}" if by and not ended else None


def read_answer(line: str) -> tuple[str, str] | None:
    """The word of a script's line, and what follows it; None where it is no such line."""
    if not line.startswith(MARK):
        return None
    word, _, rest = line.removeprefix(MARK).partition(" ")
    return word, rest


def build_refusal(host: Host, path: str, reason: str) -> NvoiError:
    """Why nobody can have the lock there, this run or another."""
    return NvoiError(
        f"{host}: there can be no deploy lock: {reason}",
        hint=f"{path} must be writable there, and flock (util-linux) and timeout (coreutils) "
        "installed",
    )


def _run(
    connections: Connections, host: Host, script: str, path: str, *words: str
) -> dict[str, str]:
    command = as_root(host, build_script("nvoi-lock-file", script, path, *words))
    result = connections.run(host, command, timeout=SECONDS, level=None)
    answers = dict(filter(None, map(read_answer, result.lines)))
    if "unable" in answers:
        raise build_refusal(host, path, answers["unable"])
    if "stuck" in answers:
        raise LockError(
            f"{host}: {answers['stuck']}",
            hint=f"`fuser -v {path}` there, as root, lists the processes that have it open",
        )
    return answers
