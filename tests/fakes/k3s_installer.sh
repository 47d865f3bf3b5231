#!/bin/sh
# Stands in for https://get.k3s.io on hosts that tests.fakes.k3s_host has prepared: it takes the
# same variables, leaves the same files, and tells /opt/fake/installer.log what it was given.
set -eu
. /opt/fake/settings
role=$INSTALL_K3S_EXEC
unit=k3s
[ "$role" = server ] || unit=k3s-agent
printf '%s %s %s\n' "$role" "$INSTALL_K3S_VERSION" "${INSTALL_K3S_SKIP_START:-false}" \
  >>/opt/fake/installer.log
echo "[INFO]  Using $INSTALL_K3S_VERSION as release"
if [ -e /opt/fake/meet ]; then
  # Goes on once as many hosts as the file says are here: only side by side can they be.
  : >"$state/here-$(cat /etc/machine-id)"
  tries=0
  while [ "$(ls "$state" | grep -c '^here-')" -lt "$(cat /opt/fake/meet)" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 400 ] || { echo '[ERROR] the others did not come' >&2; exit 1; }
    sleep 0.05
  done
fi
if [ -e /opt/fake/broken-installer ]; then
  echo '[ERROR] Download failed' >&2
  exit 1
fi
if [ -e /opt/fake/full-disk ]; then
  head -c 1 /dev/zero >/dev/full
fi
bin=/usr/local/bin
sed "s/@VERSION@/$INSTALL_K3S_VERSION/" >"$bin/.k3s.new" <<'PROGRAM'
#!/bin/sh
. /opt/fake/settings
case ${1:-} in
  --version) echo 'k3s version @VERSION@ (fake)'; exit ;;
  crictl)
    shift
    printf '%s\n' "$*" >>/opt/fake/crictl.log
    if [ -n "$kubeconfig" ]; then exec crictl "$@"; fi
    case $1 in
      # A test says which images the machine has pulled.
      images) cat /opt/fake/images 2>/dev/null ;;
      inspecti) exit 1 ;;
      pull) exec "$python" -S "$kubectl" "$port" --pull "$2" ;;
    esac
    exit 0
    ;;
  kubectl) shift ;;
  *) echo "k3s: no such command: $*" >&2; exit 64 ;;
esac
if [ -n "$kubeconfig" ]; then exec kubectl --kubeconfig="$kubeconfig" "$@"; fi
# It is read in each run: Python would take ten times as long.
if [ "$1" = config ]; then exec cat "$state/kubeconfig.json"; fi
if [ ! -e /opt/fake/k3s.active ]; then
  echo 'The connection to the server 127.0.0.1:6443 was refused' >&2
  exit 1
fi
exec "$python" -S "$kubectl" "$port" "$@"
PROGRAM
chmod 755 "$bin/.k3s.new"
mv -f "$bin/.k3s.new" "$bin/k3s"
if [ -e /opt/fake/killed-installer ]; then
  # As a host that is switched off in the middle.
  rm /opt/fake/killed-installer
  kill -KILL "$PPID" $$
fi
mkdir -p /etc/systemd/system
cat >"$bin/$unit-uninstall.sh" <<UNINSTALL
#!/bin/sh
systemctl stop $unit
rm -f /etc/systemd/system/$unit.service $bin/k3s $bin/$unit-uninstall.sh
rm -rf /etc/rancher/k3s
printf '%s\n' $unit >>/opt/fake/uninstalled.log
false
UNINSTALL
chmod 755 "$bin/$unit-uninstall.sh"
echo "[Service]" >"/etc/systemd/system/$unit.service"
systemctl enable "$unit"
[ "${INSTALL_K3S_SKIP_START:-false}" = true ] || systemctl restart "$unit"
