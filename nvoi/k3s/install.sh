# Writes the files of k3s on a server, has k3s installed and started there.
#
# Its arguments: role, release, URL of the installer, bytes of config.yaml, bytes of
# registries.yaml, stamp, whether the installer is to run, whether k3s is to be started, seconds
# to wait for that, folder of the registry's data. On its standard input are the two files.
#
# A service is waited for here and not by systemctl(1), whose own wait has no end: the installer's
# units have TimeoutStartSec=0. The stamp is gone from before the first change until k3s runs with
# all of them, so that the next run sees what was interrupted. What the installer makes, everybody
# may read. Exit codes from 90 on say what went wrong.
set -eu
PATH=$PATH:/usr/local/bin:/opt/bin:/usr/sbin:/sbin
has_openrc() { [ -x /sbin/openrc-run ]; }
is_active() {
  if has_openrc; then rc-service "$1" status >/dev/null 2>&1 </dev/null
  else [ "$(systemctl is-active "$1" 2>/dev/null </dev/null)" = active ]; fi
}
restarts() {
  has_openrc && { echo 0; return; }
  number=$(systemctl show --property=NRestarts --value "$1" 2>/dev/null </dev/null)
  echo "${number:-0}"
}
moment() { sleep 0.2 2>/dev/null || sleep 1; }
show_log() {
  echo "the last lines of $1:" >&2
  if has_openrc; then tail -n 20 "/var/log/$1.log" >&2 || true
  else journalctl --unit="$1" --lines=20 --no-pager --output=cat >&2 </dev/null || true; fi
}
role=$1 release=$2 url=$3 config=$4 registries=$5 stamp=$6 installs=$7 starts=$8 seconds=$9
data=${10}
folder=/etc/rancher/k3s
unit=k3s
[ "$role" = server ] || unit=k3s-agent
(umask 022; mkdir -p "$folder")
umask 077
if [ "$role" = server ]; then
  # Made by the kubelet, it would be everybody's to read: there is code in images.
  (umask 066; mkdir -p "$data")
  chmod 0700 "$data"
fi
rm -rf "$folder"/.nvoi.*
new=$(mktemp -d "$folder/.nvoi.XXXXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM PIPE
give_up() {
  # What downloads tells nobody that there was no room.
  for place in "${TMPDIR:-/tmp}" /usr/local/bin /var/lib "$folder"; do
    free=$(df -P -k "$place" 2>/dev/null | awk 'END { print $(NF - 2) }')
    [ "${free:-9999}" -ge 1024 ] || echo "$place: No space left on device" >&2
  done
  exit "$1"
}
move() {
  sync "$1" 2>/dev/null || sync
  mv -f "$1" "$2"
}
[ "$starts" = no ] && [ "$installs" = no ] || rm -f "$folder/nvoi-applied"
cat >"$new/all"
size=$(wc -c <"$new/all")
if [ "$size" -ne $((config + registries)) ]; then
  echo "only $size of $((config + registries)) bytes arrived" >&2
  exit 1
fi
head -c "$config" "$new/all" >"$new/config.yaml"
tail -c "$registries" "$new/all" >"$new/registries.yaml"
move "$new/config.yaml" "$folder/config.yaml"
move "$new/registries.yaml" "$folder/registries.yaml"
if [ "$installs" = yes ]; then
  echo "downloading the installer from $url"
  if command -v curl >/dev/null 2>&1; then
    # What is asked for over TLS comes over TLS, wherever it is redirected to.
    ways=http,https
    case $url in https:*) ways=https ;; esac
    curl -sSfL --proto-redir "=$ways" --connect-timeout 20 --max-time 120 \
      -o "$new/install.sh" "$url" || give_up 90
  else wget -q -T 60 -O "$new/install.sh" "$url" || give_up 90; fi
  if [ "$(head -c 2 "$new/install.sh")" != '#!' ]; then
    echo "$url gives no shell script" >&2
    exit 90
  fi
  (
    umask 022
    INSTALL_K3S_VERSION=$release INSTALL_K3S_EXEC=$role INSTALL_K3S_SKIP_START=true \
      sh "$new/install.sh" </dev/null
  ) || give_up 91
fi
[ "$starts" = yes ] || exit 0
echo "starting $unit"
if has_openrc; then rc-service "$unit" restart </dev/null
else
  # Not restarted: until that begins, the old one is still active.
  systemctl stop "$unit" </dev/null
  systemctl start --no-block "$unit" </dev/null
fi
began=$(date +%s) told=0
is_late() {
  passed=$(($(date +%s) - began))
  if [ $((passed - told)) -ge 15 ]; then
    told=$passed
    echo "waiting for $1 ($passed s)"
  fi
  [ "$passed" -ge "$seconds" ]
}
until is_active "$unit"; do
  if is_late "$unit to start" || [ "$(restarts "$unit")" -ge 3 ]; then
    show_log "$unit"
    exit 92
  fi
  moment
done
if [ "$role" = server ]; then
  until answer=$(k3s kubectl --request-timeout=10s get --raw=/readyz 2>&1 </dev/null); do
    if is_late 'the Kubernetes API'; then
      echo "the Kubernetes API is not ready: $answer" >&2
      show_log "$unit"
      exit 93
    fi
    moment
  done
fi
printf '%s\n' "$stamp" >"$new/stamp"
move "$new/stamp" "$folder/nvoi-applied"
