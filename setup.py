"""README.md as a package page can show it; all else of the package is in setup.cfg.

A package page has none of the repository's files, so links and images need whole addresses. They
get them where setup.cfg names the project's ``url``; until then they are left out.
"""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
LINK = re.compile(r"(?P<mark>!?)\[(?P<text>[^\]]*)\]\((?!https?://)(?P<target>[^)\s]+)\)")


def build_description(readme: str, url: str) -> str:
    def replace(link: re.Match[str]) -> str:
        if not url:
            return "" if link["mark"] else link["text"]
        path = "README.md" + link["target"] if link["target"][0] == "#" else link["target"]
        view = "raw" if link["mark"] else "blob"
        return f"{link['mark']}[{link['text']}]({url}/{view}/HEAD/{path})"

    return LINK.sub(replace, readme)


config = ConfigParser()
config.read(ROOT / "setup.cfg", encoding="utf-8")
readme = (ROOT / "README.md").read_text("utf-8")
setup(long_description=build_description(readme, config.get("metadata", "url", fallback="")))
