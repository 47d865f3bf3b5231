"""The least that a container's processes may do, by the user that its image names.

Facts are of capabilities(7) and of the Kubernetes documentation, "Configure a Security Context".
"""

from __future__ import annotations

from nvoi.config.schema import Security

# Ports below 1024 are root's, or of who has this. Programs that carry it in their file, such as
# Caddy, do not start where it cannot be had.
BIND = "NET_BIND_SERVICE"
# What a process that begins as root needs to become another user, and to end what runs as one:
# images of databases, caches and web servers do so.
ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
#: Of a process of root's that reads and writes its own files alone.
LEAST_SECURITY: dict[str, object] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


def build_security(security: Security, user: str | None) -> dict[str, object]:
    """The ``securityContext`` of a container.

    Args:
        security: what the config gives it beside what it has anyway.
        user: whom its image names to run as, empty for root; None where that is not known.
    """
    number, group = find_user(user or "")
    is_root = not user or number == 0
    given = {BIND, *security.capabilities, *(ROOT_CAPABILITIES if is_root else ())}
    context: dict[str, object] = {
        "allowPrivilegeEscalation": security.privilege_escalation,
        "capabilities": {"drop": ["ALL"], "add": sorted(given)},
    }
    if number:
        # Of a name alone Kubernetes could not tell whether it is root's.
        context |= {"runAsNonRoot": True, "runAsUser": number}
        context |= {"runAsGroup": group} if group is not None else {}
    return context


def find_user(user: str) -> tuple[int | None, int | None]:
    """The numbers of an image's user and group, ``1000:1000``; None for a name, but for root's."""
    names = ["0" if name == "root" else name for name in user.split(":")]
    numbers = [int(name) if name.isdecimal() else None for name in names]
    return numbers[0], numbers[1] if len(numbers) > 1 else None
