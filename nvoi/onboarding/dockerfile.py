"""What an app's Dockerfile says of how the app is run. Pure.

The last stage counts; it begins with what the stage has that it is built from, and of several
``CMD`` the last one counts (Dockerfile reference).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from nvoi.images.context import find_instructions
from nvoi.onboarding.shell import find_port, read_command

STAGE = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+as\s+(\S+))?")
# Programs of images alone, which end with running what they are given.
WRAPPERS = ("entrypoint", "tini", "dumb-init")


@dataclass(frozen=True)
class Image:
    entrypoint: str = ""
    arguments: str = ""
    port: int | None = None
    workdir: str = ""

    @property
    def local_command(self) -> str:
        """The command where the image's folder is that of the release."""
        if not self.workdir:
            return self.command
        return re.sub(rf"(?<![\w./-]){re.escape(self.workdir)}(?=/)", ".", self.command)

    @property
    def command(self) -> str:
        """What runs: ``CMD``, as the arguments of ``ENTRYPOINT`` where that is a program."""
        program = self.entrypoint.partition(" ")[0].rpartition("/")[2]
        if self.arguments and any(wrapper in program for wrapper in WRAPPERS):
            return self.arguments
        return f"{self.entrypoint} {self.arguments}".strip()


def read_dockerfile(text: str, target: str = "") -> Image | None:
    """The last stage, or the one of that name; None where there is none."""
    image: Image | None = None
    stages: dict[str, Image] = {}
    stage = ""
    for _, name, rest in find_instructions(text):
        if name == "FROM":
            if target and stage == target.lower():
                break
            source, stage = find_stage(rest)
            image = stages.get(source, Image())
        elif image is None:
            continue
        elif name == "EXPOSE" and image.port is None:
            # One that a build argument names cannot be told.
            found = (find_port(word) for word in rest.split())
            image = replace(image, port=next(filter(None, found), None))
        elif name == "CMD":
            image = replace(image, arguments=read_command(rest))
        elif name == "ENTRYPOINT":
            image = replace(image, entrypoint=read_command(rest))
        elif name == "WORKDIR" and rest.startswith("/"):
            image = replace(image, workdir=rest.rstrip("/"))
        if image and stage:
            stages[stage] = image
    return image


def find_stage(text: str) -> tuple[str, str]:
    """What a stage is built from, and its own name, in small letters; blank where unknown."""
    match = STAGE.fullmatch(text.lower())
    return (match[1], match[2] or "") if match else ("", "")
