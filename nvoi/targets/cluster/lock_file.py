"""The lock file on a master, and the scripts that hold, read and free it there.

It says who holds it in up to three lines: the holder's process and token, the holder as
JSON, and ``ended TOKEN WHO`` once somebody ended it. It is written by whoever holds
``flock`` on it, and left when that is given back: it counts while the file is locked.
Each script takes what it works on as arguments, and tells this side what it found in lines
of a :data:`MARK`, a word, and what belongs to it.
"""

from __future__ import annotations

#: On the master, for all apps of its cluster.
LOCK_FILE = "/opt/nvoi/deploy.lock"
#: What the lines that the scripts print for this side begin with.
MARK = "nvoi-lock "

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

#: $1: the lock file. A shared lock cannot be had while somebody holds the lock.
FIND = f"""\
path=$1
{SHELL}
[ -e "$path" ] || exit 0
exec 9<"$path"
flock -n -s 9 && exit 0
look
say held "$holder"
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

#: $1: the lock file, $2: the run's token, $3: its record, $4: seconds of silence that end it,
#: $5: "again" where this run had the lock before and nobody may have had it since. The file is
#: opened anew at each try, as one that was deleted meanwhile guards nothing; and no child but
#: flock has it, so that it is free once this process has ended.
HOLD = f"""\
path=$1 token=$2 record=$3 silence=$4 again=$5
{SHELL}
umask 077
said=$(mkdir -p -m 0711 -- "${{path%/*}}" 2>&1) || fail unable "$said"
said=$( (: >>"$path") 2>&1) || fail unable "$said"
is_file() {{ [ "$path" -ef "/proc/$$/fd/9" ]; }}
lock() {{
  exec 9<>"$path"
  {{ flock -n 9 || timeout 1 flock 9; }} && is_file
}}
# What is left of a connection of this run that broke, and has not noticed it yet.
end_own() {{
  look
  [ "$owner" = "$token" ] && holds && kill "$pid"
}}
check_claim() {{
  look
  [ "$owner" = "$token" ] || fail lost "$holder"
  case $ended in "ended $token "*) fail ended "${{ended#"ended $token "}}" ;; esac
}}
take() {{
  end_own
  if lock; then
    [ -z "$again" ] || check_claim
    said=$( (printf '%s %s\\n%s\\n' "$$" "$token" "$record" >"$path") 2>&1 9>&-) ||
      fail unable "$said"
    held=yes
    say held
    return
  fi
  look
  [ -z "$again" ] || [ "$owner" = "$token" ] || fail lost "$holder"
  say busy "$holder"
}}
held=''
while timeout "$silence" sh -c 'read -r beat' >/dev/null 2>&1 9>&-; do
  [ -z "$held" ] || is_file || fail deleted
  if [ -n "$held" ]; then say held; else take; fi
done
"""


def read_answer(line: str) -> tuple[str, str] | None:
    """What a line of a script tells this side: a word, and what follows it."""
    if not line.startswith(MARK):
        return None
    word, _, rest = line.removeprefix(MARK).partition(" ")
    return word, rest
