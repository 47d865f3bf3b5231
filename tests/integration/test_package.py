"""What is built of the repository: its sdist, its wheel, and the page that shows it in an index."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest
from readme_renderer import markdown

from nvoi.version import __version__
from tests.integration.pages import PAGES, ROOT
from tests.waiting import run_program

#: What is no part of the repository, as .gitignore and git have it.
FOREIGN = (".git", ".venv*", ".tox", ".*_cache", "__pycache__", "*.egg-info", "build", "dist")
WHEEL = f"nvoi-{__version__}-py3-none-any.whl"


def list_files(folder: Path) -> set[str]:
    """The files below a folder, also of folders that are links."""
    return {
        str(path.relative_to(folder))
        for link in (folder, folder / "examples" / "hello")
        for path in link.rglob("*")
        if path.is_file()
    }


def build(folder: Path, what: str) -> Path:
    """What the build backend makes of a checkout, as pip asks it."""
    code = f"from setuptools import build_meta as it; print('MADE', it.build_{what}('dist'))"
    printed = run_program(sys.executable, "-c", code, folder=folder)
    return folder / "dist" / printed.rpartition("MADE ")[2].strip()


def copy_repository(folder: Path) -> Path:
    shutil.copytree(ROOT, folder, symlinks=True, ignore=shutil.ignore_patterns(*FOREIGN))
    return folder


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(copy_repository(folder / "checkout"), "sdist")) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"nvoi-{__version__}"


@pytest.fixture(scope="module")
def wheel(unpacked: Path) -> Path:
    """The wheel, built from the sdist."""
    return build(unpacked, "wheel")


def read_metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        return message_from_bytes(archive.read(f"nvoi-{__version__}.dist-info/METADATA"))


def list_targets(metadata: Message) -> list[str]:
    """Where the links and images of the page lead, as an index renders it."""
    rendered = markdown.render(str(metadata.get_payload()))
    assert rendered is not None
    assert "<h2" in rendered
    # Its headings may lead to themselves.
    return re.findall(r'(?:href|src)="(?!#user-content-)([^"]*)"', rendered)


def test_the_sdist_has_all_files_of_the_repository(unpacked: Path, tmp_path: Path) -> None:
    assert list_files(copy_repository(tmp_path / "copy")) <= list_files(unpacked)
    assert not list(unpacked.rglob("*.pyc"))
    for program in ("demo", "test"):
        assert (unpacked / "bin" / program).stat().st_mode & 0o111


def test_the_wheel_has_the_package_and_nothing_else(unpacked: Path, wheel: Path) -> None:
    assert wheel.name == WHEEL
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {f"nvoi/{name}" for name in list_files(unpacked / "nvoi")}


def test_the_metadata_says_who_and_what(wheel: Path) -> None:
    metadata = read_metadata(wheel)
    assert metadata["Name"] == "nvoi"
    assert metadata["Author"] == "the nvoi developers"
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_no_link_of_a_package_page_leads_nowhere(wheel: Path) -> None:
    metadata = read_metadata(wheel)
    assert "Home-page" not in metadata
    targets = list_targets(metadata)
    assert [target for target in targets if not target.startswith(("https://", "http://"))] == []
    assert "https://k3s.io" in targets
    assert "docs/config.md: the config, its file and its key" in str(metadata.get_payload())


def test_with_the_url_of_the_project_all_links_lead_there(unpacked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "named"
    shutil.copytree(unpacked, folder, ignore=shutil.ignore_patterns("tests", "dist", "build"))
    config = folder / "setup.cfg"
    url = "https://code.example.com/team/nvoi"
    config.write_text(config.read_text().replace("[metadata]\n", f"[metadata]\nurl = {url}\n"))
    targets = list_targets(read_metadata(build(folder, "wheel")))
    assert f"{url}/raw/HEAD/docs/dashboard.png" in targets
    paths = [target.split("/HEAD/")[1] for target in targets if target.startswith(url)]
    assert "docs/config.md" in paths
    assert [path for path in paths if not (ROOT / path.partition("#")[0]).exists()] == []
    assert [target for target in targets if "://" not in target] == []


#: A command that takes nvoi itself, or one of its extras, from an index.
FROM_INDEX = re.compile(
    r"(?:pipx?|uv|tool) (?:install|inject|run) (?:-\S+ )*[\"']?nvoi(?:\[|[\"'`\s,;)]|$)"
)


@pytest.mark.parametrize(
    "command",
    [
        "pip install nvoi",
        "pip install 'nvoi[demo]'",
        "/opt/nvoi/bin/pip install --upgrade nvoi[dashboard]",
        "`pipx install nvoi`",
        "uv tool install nvoi",
    ],
)
def test_the_check_of_sources_sees_them(command: str) -> None:
    assert FROM_INDEX.search(command)


def test_nothing_says_that_an_index_has_nvoi() -> None:
    texts = [*PAGES, *(ROOT / "nvoi").rglob("*"), *(ROOT / "examples").rglob("*")]
    texts += [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "bin").iterdir()]
    texts = [path for path in texts if path.is_file() and path.suffix not in {".pyc", ".png"}]
    assert [
        f"{path}: {found[0]}"
        for path in texts
        for found in FROM_INDEX.finditer(" ".join(path.read_text("utf-8").split()))
    ] == []


def test_pages_name_the_wheel_that_is_built() -> None:
    named = {name for page in PAGES for name in re.findall(r"nvoi-\d\S*?\.whl", page.read_text())}
    assert named == {WHEEL}
