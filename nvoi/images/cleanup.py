"""Old images: which they are, and how they leave the registry, the nodes and this machine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from nvoi.command import Command, build_script
from nvoi.images.engines import STAMP, Engine
from nvoi.images.registries import Registry
from nvoi.log.levels import get_logger
from nvoi.process import ask

log = get_logger("nvoi.images")

# Removing an image by one of its names takes all names of the same content from containerd
# (CRI, RemoveImage): so one that a kept name has is passed over. An image that was pulled by its
# digest has no tag there, `<none>` (cri-tools, `crictl images`).
NODE_SCRIPT = """\
repository=$1
shift
images=$(k3s crictl images --digests --no-trunc) || exit
ids=' '
list() {
  printf '%s\\n' "$images" | while read -r name stamp digest id rest; do
    [ "$name" = "$repository" ] || continue
    case $stamp in '<none>') stamp=$digest ;; esac
    printf '%s %s\\n' "$stamp" "$id"
  done
}
is_kept() {
  for kept in $keep; do [ "$1" != "$kept" ] || return 0; done
  return 1
}
keep=$*
for id in $(list | while read -r stamp id; do is_kept "$stamp" && echo "$id"; done); do
  ids="$ids$id "
done
list | while read -r stamp id; do
  is_kept "$stamp" && continue
  case $ids in *" $id "*) continue ;; esac
  case $stamp in sha256:*) mark=@ ;; *) mark=: ;; esac
  k3s crictl rmi "$repository$mark$stamp" </dev/null >/dev/null 2>&1 && echo "$stamp"
done
exit 0
"""


def find_expired_tags(stamps: Iterable[str], kept: Collection[str]) -> tuple[str, ...]:
    """The stamps that nothing needs any more, oldest first.

    Tags that are no stamps are not nvoi's, and stay. What is newer than all that is kept may be of
    a run that goes on now, and stays; where none is kept, all are expired.
    """
    newest = max(kept, default=None)
    return tuple(
        sorted(
            stamp
            for stamp in set(stamps)
            if STAMP.fullmatch(stamp) and stamp not in kept and (newest is None or stamp < newest)
        )
    )


def remove_from_registry(
    registry: Registry, repository: str, kept: Collection[str]
) -> tuple[str, ...]:
    """Remove the images of ``repository`` that are not kept.

    A manifest that a kept stamp stands for too is left, and so are the images of its index. To
    be called under the cluster's lock. Returns the stamps that are gone.
    """
    stamps = registry.list_tags(repository)
    expired = find_expired_tags(stamps, kept)
    if not expired:
        return ()
    manifests = {stamp: registry.find_manifest(repository, stamp) for stamp in stamps}
    needed = {
        digest
        for stamp, manifest in manifests.items()
        if manifest is not None and stamp not in expired
        for digest in (manifest.digest, *manifest.parts)
    }
    removed = []
    for stamp in expired:
        manifest = manifests[stamp]
        if manifest is None or manifest.digest in needed:
            continue
        for digest in (manifest.digest, *manifest.parts):
            if digest not in needed:
                registry.delete(repository, digest)
        removed.append(stamp)
    if removed:
        log.info("removed from %s: %s", registry.name, ", ".join(removed))
    return tuple(removed)


def remove_here(
    engine: Engine, repository: str, kept: Collection[str], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Remove the images of ``repository`` from this machine that are not kept.

    What the kept ones are built on stays, and with it the layer cache. What cannot be removed,
    as a container here uses it, stays too. Returns the stamps that are gone.
    """
    environ = {**environ, **engine.environment}
    stamps = (ask(engine.list_tags(repository), environ) or "").split()
    removed = tuple(
        stamp
        for stamp in find_expired_tags(stamps, kept)
        if ask(engine.remove(f"{repository}:{stamp}"), environ) is not None
    )
    if removed:
        log.debug("removed from this machine: %s", ", ".join(removed))
    return removed


def build_image_deletion(address: str, repository: str, kept: Collection[str]) -> Command:
    """The command that removes a repository's images from a node; root runs it there.

    It prints the stamps that it removed, or the digests of those that have none on the node, a
    line each. ``kept`` are stamps and digests; what the node cannot remove is left.
    """
    return build_script("nvoi-images", NODE_SCRIPT, f"{address}/{repository}", *sorted(kept))
