"""Machines for tests of clusters: SSH servers with an /etc, /opt and /usr/local/bin of their own.

What nvoi writes as root, such as /etc/rancher and /opt/nvoi, is in :attr:`Machine.root` and nowhere
else, so that several machines, and tests side by side, never meet. A mount namespace
(unshare(1)) does this; it needs root, or a system that lets everyone have user namespaces.

A machine is logged in to as root, or as a user ``deploy`` who may use the real sudo(8) without
a password, or, with ``sudo=False``, may not. Where the tests have no root there is only their
own user, and a ``sudo`` that enters the namespace.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from nvoi.ssh.host import Host
from tests.integration.ssh.server import Server

IS_ROOT = os.getuid() == 0
DEPLOY_UID = 4242
PLACES = ("etc", "opt", "usr/local/bin", "home")
#: The folders of /etc that logging in, sudo(8) and a shell's programs need. All of it would be more
#: than a thousand files a machine.
KEPT = frozenset(
    ("default", "ld.so.conf.d", "pam.d", "profile.d", "security", "selinux", "ssh", "sudoers.d")
)
ENTER = """\
set -e
root=$1
shift
for place in etc opt usr/local/bin home dev/disk; do
  [ ! -d "$root/$place" ] || mount --bind "$root/$place" "/$place"
done
exec "$@"
"""
#: What sudo(8) is for those who are not root: it reads the same options.
SUDO = """\
#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do
  [ "$1" = -- ] && {{ shift; break; }}
  shift
done
exec unshare --map-root-user --mount sh -c '{enter}' enter '{root}' "$@"
"""
NO_SUDO = """\
#!/bin/sh
echo 'sudo: a password is required' >&2
exit 1
"""


class Machine(Server):
    """A server that a cluster can be made of.

    Args:
        folder: an empty folder for all that it has.
        authorized: the public keys that it lets in.
        name: how the log names it.
        user: who logs in: ``root`` or ``deploy``.
        sudo: whether ``deploy`` may become root.
        address: one of 127.0.0.0/8.
        port: any that is free where it is left out.
        options: more lines of sshd_config(5).
    """

    def __init__(
        self,
        folder: Path,
        authorized: Sequence[str],
        *,
        name: str = "main-1",
        user: str = "root",
        sudo: bool = True,
        address: str = "127.0.0.1",
        port: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.root = folder / "root"
        self._login = user
        self._may_sudo = sudo
        for place in PLACES:
            (self.root / place).mkdir(parents=True, exist_ok=True)
        self._fill_etc()
        super().__init__(folder, authorized, name=name, address=address, port=port, options=options)

    @property
    def host(self) -> Host:
        """The machine as a run has it."""
        user = self._login if IS_ROOT else self.user
        return Host(self.name, self.address, self.port, user)

    @property
    def enter(self) -> tuple[str, ...]:
        """The words before a command that is to run as its root, without SSH."""
        unshare = ["unshare", "--mount", *([] if IS_ROOT else ["--map-root-user"])]
        return (*unshare, "sh", "-c", ENTER, "enter", str(self.root))

    def read(self, path: str) -> str:
        """The text of the machine's file ``path``."""
        return (self.root / path.lstrip("/")).read_text()

    def _prepare(self) -> None:
        """What is different from any other server, before it is started."""
        self.programs = self.root / "usr/local/bin"
        if IS_ROOT:
            # Its users may not go where the tests are, but everywhere below these places.
            self._wrapper = self.enter
            self._path = f"/usr/local/bin:{os.environ['PATH']}"
            self._authorized = self.root / "etc/authorized_keys"
            self._authorized_path = "/etc/authorized_keys"
            if self._login != "root":
                self.home = self.root / "home" / self._login
                self._home_path = f"/home/{self._login}"
        else:
            sudo = SUDO.format(enter=ENTER, root=self.root)
            self.add_program("sudo", sudo if self._may_sudo else NO_SUDO)

    def _fill_etc(self) -> None:
        etc = self.root / "etc"
        (etc / "alternatives").mkdir()
        found = [path for path in Path("/etc").iterdir() if path.name in KEPT or not path.is_dir()]
        copy = ["cp", "-a", *map(str, found), str(etc)]
        subprocess.run(copy, check=False, stderr=subprocess.DEVNULL)
        awk = Path("/etc/alternatives/awk")
        if awk.exists():
            (etc / "alternatives/awk").symlink_to(awk.readlink())
        (etc / "machine-id").unlink(missing_ok=True)
        (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        shutil.rmtree(etc / "rancher", ignore_errors=True)
        if IS_ROOT:
            self._add_user(etc)

    def _add_user(self, etc: Path) -> None:
        home = self.root / "home/deploy"
        home.mkdir()
        os.chown(home, DEPLOY_UID, DEPLOY_UID)
        lines = {
            "passwd": f"deploy:x:{DEPLOY_UID}:{DEPLOY_UID}::/home/deploy:/bin/sh\n",
            "group": f"deploy:x:{DEPLOY_UID}:\n",
            "shadow": "deploy:*:20000:0:99999:7:::\n",
        }
        for name, line in lines.items():
            with (etc / name).open("a") as file:
                file.write(line)
        if self._may_sudo:
            rule = etc / "sudoers.d/deploy"
            rule.parent.mkdir(exist_ok=True)
            rule.write_text("deploy ALL=(ALL) NOPASSWD: ALL\n")
            rule.chmod(0o440)
