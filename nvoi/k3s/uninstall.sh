# Removes k3s, and what nvoi has put beside it, where nvoi has set it up.
#
# Its arguments: the folder of k3s' config, its first line, the folders that go with a master. The
# uninstaller's own exit code says nothing, as its last command may fail where all is gone: what is
# left is looked at. Exit code 94: k3s is somebody else's.
set -eu
PATH=$PATH:/usr/local/bin:/opt/bin:/usr/sbin:/sbin
folder=$1 header=$2
shift 2
is_foreign=no
if [ -e "$folder/config.yaml" ] && [ "$(head -n 1 "$folder/config.yaml")" != "$header" ]; then
  is_foreign=yes
fi
unit=
for one in k3s k3s-agent; do
  [ ! -e "/etc/systemd/system/$one.service" ] && [ ! -e "/etc/init.d/$one" ] || unit=$one
done
if [ -n "$unit" ] && { [ "$is_foreign" = yes ] || [ ! -e "$folder/config.yaml" ]; }; then
  echo "k3s is not nvoi's there" >&2
  exit 94
fi
for one in k3s k3s-agent; do
  for place in /usr/local/bin /opt/bin; do
    program=$place/$one-uninstall.sh
    [ ! -x "$program" ] || "$program" </dev/null || true
  done
done
[ "$is_foreign" = yes ] || rm -rf -- "$folder"
rm -rf -- "$@"
rmdir /etc/rancher 2>/dev/null || true
is_active() { rc-service "$1" status || [ "$(systemctl is-active "$1")" = active ]; }
if [ -n "$unit" ] && is_active "$unit" >/dev/null 2>&1 </dev/null; then
  echo "$unit still runs" >&2
  exit 1
fi
if [ -n "$unit" ]; then echo removed; fi
