"""The scripts that ask a server what it is like; they change nothing there."""

from __future__ import annotations

#: Run as the user who logs in. Its arguments: the seconds to wait for cloud-init, and those of
#: QUESTIONS, which it runs as root where it can. ``cloud-init status`` is asked again and again,
#: as its ``--wait`` has no end where cloud-init never runs (it says "not started" then, and "not
#: run" before release 24.1).
SCRIPT = """\
section() { printf '\\n@nvoi %s\\n' "$1"; }
section architecture; uname -m
section kernel; uname -sr
section cloud-init
if command -v cloud-init >/dev/null 2>&1; then
  began=$(date +%s) told=0
  while :; do
    state=$(cloud-init status 2>/dev/null </dev/null | sed -n 's/^status: *//p' | head -n 1)
    passed=$(($(date +%s) - began))
    case $state in
      running) ;;
      'not started' | 'not run')
        read -r up _ </proc/uptime
        [ "${up%%.*}" -lt 180 ] || break ;;
      *) break ;;
    esac
    [ "$passed" -lt "$1" ] || break
    if [ $((passed - told)) -ge 15 ]; then told=$passed; echo "waiting $passed"; fi
    sleep 1
  done
  echo "state ${state:-unknown}"
  if [ "$state" = error ]; then
    cloud-init status --long 2>/dev/null </dev/null | grep -A1 '^detail:' |
      tr '\\n' ' ' | sed 's/^detail: */detail /'
  fi
fi
section root
shift
if [ "$(id -u)" -eq 0 ]; then
  echo yes; exec sh -c "$@"
elif ! command -v sudo >/dev/null 2>&1; then
  echo 'no sudo is not installed'; exec sh -c "$@"
elif why=$(sudo -n true 2>&1); then
  echo yes; exec sudo -n -- sh -c "$@"
fi
echo "no $(echo "$why" | head -n 1)"
exec sh -c "$@"
"""

#: Its arguments: the ports asked for, as ``tcp:192B``; where k3s' and the volumes' files are; and
#: the first line of a config that nvoi wrote. Ports are taken from /proc/net (proc(5)): there a
#: TCP socket that listens is in state 0A, a UDP one that is not connected in 07. Of firewalls it
#: reads the files: ufw(8) keeps each rule as ``### tuple ### ACTION PROTOCOL PORT TO PORT FROM
#: in``, firewalld.zone(5) the sources that are trusted.
QUESTIONS = """\
PATH=$PATH:/usr/local/bin:/opt/bin:/usr/sbin:/sbin
ports=" $1 " config=$2 registries=$3 stamp=$4 volumes=$5 header=$6
section() { printf '\\n@nvoi %s\\n' "$1"; }
digest() { sha256sum 2>/dev/null <"$1" | cut -d ' ' -f 1; }
section os; cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null
section memory; grep '^MemTotal:' /proc/meminfo
section disk
for folder in /var/lib/rancher/k3s /var/lib/rancher /var/lib /; do
  if [ -d "$folder" ]; then df -P -k "$folder" | tail -n 1; break; fi
done
for folder in /usr/local/bin /usr/local /usr /; do
  if [ -d "$folder" ]; then df -P -k "$folder" | tail -n 1; break; fi
done
section clock; date +%s
section machine; cat /etc/machine-id 2>/dev/null || cat /var/lib/dbus/machine-id 2>/dev/null
section supervisor
if [ -x /sbin/openrc-run ]; then echo openrc
elif command -v systemctl >/dev/null 2>&1; then
  # So it says where something else was booted with, such as in a container.
  [ "$(systemctl is-system-running 2>/dev/null </dev/null)" = offline ] || echo systemd
fi
section downloader
if command -v curl >/dev/null 2>&1; then echo curl
elif wget --version 2>/dev/null </dev/null | grep -q GNU; then echo wget
elif command -v wget >/dev/null 2>&1; then echo busybox; fi
section wireguard
if [ -d /sys/module/wireguard ] || modprobe -n -q wireguard 2>/dev/null; then echo yes
else echo unknown; fi
section k3s
for place in /usr/local/bin/k3s /opt/bin/k3s "$(command -v k3s)"; do
  if [ -x "$place" ]; then
    echo "program $place"
    echo "version $("$place" --version 2>/dev/null </dev/null | head -n 1)"
    break
  fi
done
role=
for pair in server:k3s agent:k3s-agent; do
  unit=${pair#*:}
  if [ -e "/etc/systemd/system/$unit.service" ]; then
    role=${pair%:*} state=$(systemctl is-active "$unit" 2>/dev/null </dev/null)
  elif [ -e "/etc/init.d/$unit" ]; then
    role=${pair%:*} state=inactive
    rc-service "$unit" status >/dev/null 2>&1 </dev/null && state=active
  fi
  [ -z "$role" ] || break
done
[ -z "$role" ] || printf 'role %s\\nstate %s\\n' "$role" "$state"
if [ -r "$config" ]; then
  [ "$(head -n 1 "$config")" != "$header" ] || echo 'ours yes'
  echo "config $(digest "$config")"
fi
[ ! -r "$registries" ] || echo "registries $(digest "$registries")"
[ ! -r "$stamp" ] || echo "applied $(head -n 1 "$stamp")"
section listening
found=$(
  for kind in tcp udp; do
    cat "/proc/net/$kind" "/proc/net/${kind}6" 2>/dev/null |
      awk -v kind="$kind" -v ports="$ports" '
        $4 == (kind == "tcp" ? "0A" : "07") {
          n = split($2, part, ":")
          if (index(ports, " " kind ":" part[n] " ")) print kind, $2, $10
        }'
  done
)
[ -z "$found" ] || printf '%s\\n' "$found"
section holders
if [ -n "$found" ] && [ -z "$role" ]; then
  ls -l /proc/[0-9]*/fd/ 2>/dev/null |
    awk -v inodes=" $(printf '%s\\n' "$found" | awk '{ printf "%s ", $3 }')" '
      /^\\/proc\\// { split($1, part, "/"); next }
      match($0, /socket:\\[[0-9]+\\]$/) {
        inode = substr($0, RSTART + 8, RLENGTH - 9)
        if (index(inodes, " " inode " ")) print inode, part[3]
      }' |
    while read -r inode process; do echo "$inode $(cat "/proc/$process/comm")"; done
fi
section addresses
ip -o addr show 2>/dev/null ||
  awk '/32 host LOCAL/ { print "-", address "/32" } { address = $2 }' /proc/net/fib_trie | sort -u
section routes
ip route show 2>/dev/null || cat /proc/net/route
section source
ip route get 192.0.2.1 2>/dev/null | head -n 1
section firewall
if grep -q '^ENABLED=yes' /etc/ufw/ufw.conf 2>/dev/null &&
  ! grep -q '^DEFAULT_INPUT_POLICY="ACCEPT"' /etc/default/ufw 2>/dev/null; then
  echo ufw
  awk '$2 == "tuple" && $4 ~ /^allow/ && $5 $6 == "anyany" && $10 ~ /^in(_cni0)?$/ { print $9 }' \\
    /etc/ufw/user.rules 2>/dev/null
elif [ "$(systemctl is-active firewalld 2>/dev/null </dev/null)" = active ]; then
  echo firewalld
  ! grep -q '^DefaultZone=trusted' /etc/firewalld/firewalld.conf 2>/dev/null || echo 0.0.0.0/0
  sed -n 's/.*<source address="\\([^"]*\\)".*/\\1/p' /etc/firewalld/zones/trusted.xml 2>/dev/null
fi
section volumes
for folder in "$volumes"/*; do [ ! -d "$folder" ] || printf '%s\\n' "$folder"; done
section token
[ ! -r /var/lib/rancher/k3s/server/token ] || head -n 1 /var/lib/rancher/k3s/server/token
section config
[ ! -r "$config" ] || cat "$config"
section end
"""
