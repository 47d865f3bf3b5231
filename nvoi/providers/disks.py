"""What root runs on a server for its rented disks. Pure.

Facts are of wipefs(8), blkid(8), systemd.mount(5), mountpoint(1), xfs_growfs(8) and resize2fs(8).
"""

from __future__ import annotations

from collections.abc import Sequence

from nvoi.command import Command, build_script
from nvoi.providers.provider import Server
from nvoi.providers.ssh import MAKE, list_make_words

#: Seconds until a disk that was attached, or has grown, is seen by the server.
DEVICE_SECONDS = 60
BYTES = 10**9

#: Its arguments: how many seconds a disk may take to be there; how many disks there are; of each
#: its name, device, folder and least bytes; then those of what follows.
#:
#: A folder is not written to while its disk is not mounted, whatever happens at a boot.
ATTACH = """\
set -eu
PATH=$PATH:/usr/sbin:/sbin
seconds=$1 count=$2
shift 2
fail() { echo "$disk: $*" >&2; exit 1; }
say() { echo "$disk: $*"; }
is_there() {
  [ -b "$device" ] || return 1
  real=$(readlink -f "$device")
  rescan=/sys/class/block/${real##*/}/device/rescan
  [ "$(blockdev --getsize64 "$device")" -lt "$least" ] || return 0
  [ ! -w "$rescan" ] || echo 1 >"$rescan"
  return 1
}
wait_for_device() {
  waited=0
  while ! is_there; do
    [ "$waited" -lt "$seconds" ] ||
      fail "the server does not see it as $device, with $least bytes, after $seconds s"
    waited=$((waited + 1))
    sleep 1
  done
}
ensure_file_system() {
  found=$(wipefs --noheadings --output TYPE "$device")
  if [ -z "$found" ]; then
    parts=$(lsblk --noheadings --raw --output NAME "$device")
    [ "$(echo "$parts" | wc -l)" -eq 1 ] || fail "has partitions, so it is not formatted"
    command -v mkfs.xfs >/dev/null || fail 'xfsprogs is not installed on the server'
    mkfs.xfs -q "$device"
    say 'formatted with XFS'
  fi
  kind=$(blkid --probe --match-tag TYPE --output value "$device") || kind=
  case $kind in
    xfs | ext4) ;;
    *) fail "carries $(echo ${found:-nothing}): it is neither formatted nor used" ;;
  esac
  uuid=$(blkid --probe --match-tag UUID --output value "$device")
}
ensure_entry() {
  after=x-systemd.before=k3s.service,x-systemd.before=k3s-agent.service
  line="UUID=$uuid $folder $kind defaults,nofail,$after 0 2"
  [ -e /etc/fstab ] || : >/etc/fstab
  ! grep -qxF "$line" /etc/fstab || return 0
  awk -v folder="$folder" '/^[ \\t]*#/ || $2 != folder' /etc/fstab >/etc/fstab.nvoi
  echo "$line" >>/etc/fstab.nvoi
  chmod 0644 /etc/fstab.nvoi
  mv -f /etc/fstab.nvoi /etc/fstab
  systemctl daemon-reload 2>/dev/null || true
}
ensure_mounted() {
  if mountpoint -q "$folder"; then
    [ "$(mountpoint -d "$folder")" = "$(mountpoint -x "$device")" ] ||
      fail "another disk is mounted at $folder"
    return 0
  fi
  mkdir -p "$folder"
  [ -z "$(ls -A "$folder")" ] ||
    fail "$folder has files on the server's own disk, which it would hide: move them away"
  chattr +i "$folder" 2>/dev/null || true
  mount -t "$kind" "$device" "$folder"
  say "mounted at $folder"
}
# A file system that was just made lets root alone write.
open_new() {
  [ "$(stat -c '%u %a' "$folder")" = '0 755' ] || return 0
  [ -n "$(ls -A "$folder" | grep -vx 'lost+found')" ] || chmod 0777 "$folder"
}
fill() {
  case $kind in
    xfs) told=$(xfs_growfs "$folder") ;;
    *) told=$(resize2fs "$device" 2>&1) ;;
  esac
  case $told in
    *'data blocks changed'* | *'is now'*) say "its file system has grown to fill it" ;;
  esac
}
while [ "$count" -gt 0 ]; do
  disk=$1 device=$2 folder=$3 least=$4
  shift 4
  wait_for_device
  ensure_file_system
  ensure_entry
  ensure_mounted
  open_new
  fill
  count=$((count - 1))
done
"""
#: Its arguments: folders. What uses them has ended.
DETACH = """\
set -eu
for folder; do
  ! mountpoint -q "$folder" || umount "$folder" || sync -f "$folder"
  awk -v folder="$folder" '$2 != folder' /etc/fstab >/etc/fstab.nvoi
  chmod 0644 /etc/fstab.nvoi
  mv -f /etc/fstab.nvoi /etc/fstab
done
"""


def build_volumes(
    server: Server, lacking: Sequence[str], *, seconds: int = DEVICE_SECONDS
) -> Command:
    """The command that brings a server's disks to their folders, and notes whose these are.

    It formats none that carries a file system or partitions, and may be run again at any time. It
    prints a line for each thing that it has changed.

    Args:
        lacking: the folders that are made usable beside those of disks.
    """
    words: list[str | int] = [seconds, len(server.disks)]
    for disk in server.disks:
        words += [disk.name, disk.device, disk.folder, disk.size * BYTES]
    folders = dict.fromkeys((*(disk.folder for disk in server.disks), *lacking))
    return build_script("nvoi-disks", ATTACH + MAKE, *words, *list_make_words(server, [*folders]))


def build_detachment(server: Server) -> Command:
    """The command that has all that was written be on a server's disks before they leave it."""
    return build_script("nvoi-disks", DETACH, *(disk.folder for disk in server.disks))
