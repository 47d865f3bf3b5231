# What a server is like, as far as root has to ask. It changes nothing.
#
# Its arguments: the ports asked for, as "tcp:192B", and where k3s' and the volumes' files are.
# Ports are taken from /proc/net (proc(5)): there a TCP socket that listens is in state 0A, a UDP
# one that is not connected in 07. Of firewalls it reads the files: ufw(8) keeps each rule as
# "### tuple ### ACTION PROTOCOL PORT TO PORT FROM in", firewalld.zone(5) the trusted sources.
PATH=$PATH:/usr/local/bin:/opt/bin:/usr/sbin:/sbin
ports=" $1 " config=$2 registries=$3 stamp=$4 volumes=$5 metadata_unit=$6
section() { printf '\n@nvoi %s\n' "$1"; }
# Of the first of the folders that exists.
free() {
  while [ ! -d "$1" ]; do shift; done
  df -P -k "$1" | awk 'END { print $(NF - 2) }'
}
section os; cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null
section processors; grep -c '^processor' /proc/cpuinfo
section memory; awk '/^MemTotal:/ { print $2 }' /proc/meminfo
section disk
free /var/lib/rancher/k3s /var/lib/rancher /var/lib /
free /usr/local/bin /usr/local /usr /
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
[ -z "$role" ] || printf 'role %s\nstate %s\n' "$role" "$state"
[ ! -r "$registries" ] ||
  echo "registries $(sha256sum 2>/dev/null <"$registries" | cut -d ' ' -f 1)"
[ ! -r "$stamp" ] || echo "applied $(head -n 1 "$stamp")"
echo "host $(uname -n)"
[ ! -r "/etc/systemd/system/$unit.service.env" ] ||
  sed -n "s/^K3S_URL='*\([^']*\).*/url \1/p" "/etc/systemd/system/$unit.service.env"
section unit
# What k3s is started with, as its installer writes it, a line each. Most values are left out: some
# are passwords.
[ ! -r "/etc/systemd/system/$unit.service" ] ||
  awk -F"'" '$2 ~ /^--[a-z0-9-]+/ {
    name = value = substr($2, 3)
    sub(/=.*/, "", name)
    if (!sub(/^[^=]*=/, "", value) || name !~ /^(node-ip|node-name|flannel-iface)$/) value = ""
    print name "=" value
  }' "/etc/systemd/system/$unit.service"
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
[ -z "$found" ] || printf '%s\n' "$found"
section holders
# Where there is k3s, it has its ports itself; 80 and 443 are asked for where nobody is to have them.
if [ -n "$found" ] &&
  { [ -z "$role" ] || printf '%s\n' "$found" | grep -q -e ':0050 ' -e ':01BB '; }; then
  ls -l /proc/[0-9]*/fd/ 2>/dev/null |
    awk -v inodes=" $(printf '%s\n' "$found" | awk '{ printf "%s ", $3 }')" '
      /^\/proc\// { split($1, part, "/"); next }
      match($0, /socket:\[[0-9]+\]$/) {
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
  awk '$2 == "tuple" && $4 ~ /^allow/ && $5 $6 == "anyany" && $10 ~ /^in(_cni0)?$/ { print $9 }' \
    /etc/ufw/user.rules 2>/dev/null
elif [ "$(systemctl is-active firewalld 2>/dev/null </dev/null)" = active ]; then
  echo firewalld
  ! grep -q '^DefaultZone=trusted' /etc/firewalld/firewalld.conf 2>/dev/null || echo 0.0.0.0/0
  sed -n 's/.*<source address="\([^"]*\)".*/\1/p' /etc/firewalld/zones/trusted.xml 2>/dev/null
fi
section metadata-unit
[ ! -r "$metadata_unit" ] || sha256sum 2>/dev/null <"$metadata_unit" | cut -d ' ' -f 1
section volumes
for folder in "$volumes"/* "$volumes"/.apps/*/*; do
  [ ! -d "$folder" ] || echo "$(stat -c '%u %a' "$folder" 2>/dev/null || echo '- -') $folder"
done
section token
[ ! -r /var/lib/rancher/k3s/server/token ] || head -n 1 /var/lib/rancher/k3s/server/token
section config
[ ! -r "$config" ] || cat "$config"
section end
