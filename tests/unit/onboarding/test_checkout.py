from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nvoi.config.schema import AppService
from nvoi.errors import ConfigError
from nvoi.onboarding.checkout import ImageConfig, read_checkout, read_dockerfile
from tests.unit.onboarding.examples import build_service
from tests.unit.onboarding.proposals.reading import check_told, read, write


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "My Shop!"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://user:pw@example.com/acme/Web_Shop.git", "web_shop"),
        ("git@example.com:acme/shop.git", "shop"),
        ("git@example.com:shop/", "shop"),
        ("/srv/git/shop.git", "shop"),
        ("https://example.com/acme/shop.git?private_token=t0k", "shop"),
        ("ssh://git:pw@example.com:22/~acme/shop.git#pw", "shop"),
        # These name no repository: what they do name is no one's to see.
        ("https://user:pw@example.com", "package"),
        ("https://t0k@example.com:8080/", "package"),
    ],
)
def test_the_remotes_name_comes_first(checkout: Path, url: str, name: str) -> None:
    (checkout / "pyproject.toml").write_text('[project]\nname = "project"\n')
    assert read_checkout(checkout, {}).name == "project"
    (checkout / "package.json").write_text('{"name": "@acme/package"}')
    assert read_checkout(checkout, {}).name == "package"
    for words in (["init", "-q"], ["remote", "add", "origin", url]):
        subprocess.run(["git", "-C", checkout, *words], check=True)
    # As git sets it for a hook of another checkout.
    assert read_checkout(checkout, {"GIT_DIR": "/"}).name == name


@pytest.mark.parametrize(
    ("files", "services"),
    [
        ({}, (build_service("web"),)),
        (
            {
                "Procfile": "# processes\nweb: bin/serve -p $PORT\nrelease: bin/migrate\n"
                "Mail_Worker: bin/work\nbroken\n: x\nempty:\n"
            },
            (
                build_service("web", "bin/serve -p $PORT", None, "bin/migrate"),
                build_service("mail_worker", "bin/work"),
            ),
        ),
        (
            {"Procfile": "worker: bin/work\nrelease: bin/migrate\n"},
            (build_service("worker", "bin/work", None, "bin/migrate"),),
        ),
        (
            {"Procfile": "mail: a\nwork: b\nMail: c\n"},
            (build_service("mail", "a"), build_service("work", "b")),
        ),
        (
            {"Dockerfile": "FROM a\nEXPOSE 3000\nCMD bin/other\n", "Procfile": "web: bin/serve\n"},
            (build_service("web", "bin/serve", 3000),),
        ),
        (
            {"package.json": '{"scripts": {"start": "node index.js"}}'},
            (build_service("web", "npm start"),),
        ),
    ],
)
def test_the_services_are_those_of_a_procfile_else_what_is_started(
    checkout: Path, files: dict[str, str], services: tuple[AppService, ...]
) -> None:
    write(checkout, files)
    found = read_checkout(checkout, {})
    assert (found.name, found.services) == ("my-shop", services)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"name": 3, "scripts": []}', "[" * 100_000, "\0", '{"name": "///"}']
)
def test_a_broken_file_is_no_error(checkout: Path, text: str) -> None:
    for name in ("package.json", "Procfile", "Dockerfile"):
        (checkout / name).write_text(text)
    (checkout / ".git").write_text(text)
    assert read_checkout(checkout, {}).services == (build_service("web"),)


def test_what_is_no_file_or_not_utf_8_is_no_error(checkout: Path) -> None:
    (checkout / "Procfile").mkdir()
    (checkout / "Dockerfile").symlink_to("nowhere")
    (checkout / "package.json").write_bytes(b"\xff\xfe{")
    assert read_checkout(checkout, {}).services == (build_service("web"),)


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("CMD a", None),
        ('CMD ["a"]\nFROM x', ImageConfig()),
        ("from x\nexpose 80/tcp 443\ncmd exec a --flag", ImageConfig("", "exec a --flag", 80)),
        (
            'FROM x\nCMD ["serve", "--name", "two words"]',
            ImageConfig("", "serve --name 'two words'"),
        ),
        ('FROM x\nCMD ["sh", "-c", "exec a $PORT"]', ImageConfig("", "exec a $PORT")),
        ("FROM x\nEXPOSE $PORT 53/udp 99999 8080", ImageConfig(port=8080)),
        ("FROM x\nARG PORT=1\nEXPOSE ${PORT}", ImageConfig()),
        ("FROM x AS build\nEXPOSE 1\nCMD a\nFROM y\nCMD b\nCMD c", ImageConfig("", "c")),
        ("FROM x\nCMD a \\\n# why\n  --b \\\n  c", ImageConfig("", "a  --b  c")),
        ('FROM x\nENTRYPOINT ["run"]\nCMD ["me"]', ImageConfig("run", "me")),
        ("FROM x\nCMD [1, 2]\n", ImageConfig()),
        ("FROM x\nCMD [broken\n", ImageConfig("", "[broken")),
        (
            "FROM x AS a\nEXPOSE 1\nCMD b\nFROM y\nCMD c\nFROM --platform=z A",
            ImageConfig("", "b", 1),
        ),
        ("FROM x\nRUN <<-A <<'B'\nCMD b\n\tA\nCMD c\nB\nEXPOSE 1", ImageConfig("", "", 1)),
    ],
)
def test_a_dockerfiles_last_stage_says_what_runs(text: str, image: ImageConfig | None) -> None:
    assert read_dockerfile(text) == image


def test_what_wraps_the_command_in_an_image_is_left_out() -> None:
    assert ImageConfig("/app/bin/docker-entrypoint.sh", "bin/serve").command == "bin/serve"
    assert ImageConfig("python", "bin/serve").command == "python bin/serve"


def test_a_procfile_of_more_processes_than_an_app_can_have_is_told(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("".join(f"p{number}: run\n" for number in range(201)))
    with pytest.raises(ConfigError, match="Procfile: has 201 processes: 200 are allowed"):
        read_checkout(tmp_path, {})


def test_a_line_of_a_procfile_that_becomes_no_service_is_told(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("# processes\nweb: serve\nWeb: again\nworker run\n\n")
    adopted, application = read(tmp_path, None, is_local=True)
    assert list(application.app) == ["web"]
    check_told(
        adopted,
        "What the checkout says and the config does not have",
        "Procfile:3: Web: no service can have this name, or another has it already",
        "Procfile:4: is no process: NAME: COMMAND",
    )
    assert "Procfile:1" not in "".join(adopted.told)
    (tmp_path / ".env").write_bytes("A=b\nNAME=café\n".encode("latin-1"))
    adopted, _ = read(tmp_path, None, is_local=True)
    check_told(adopted, ".env:2: is not UTF-8")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{\n"scripts": {"start": "node s.js"},\n}\n')
    (tmp_path / "pyproject.toml").write_text("[project]\nname = shop\n")
    notes = [str(note) for note in read_checkout(tmp_path, {}).notes]
    assert [note.partition(" (")[0] for note in notes] == [
        "package.json:3: not JSON: expecting property name enclosed in double quotes",
        "pyproject.toml:2: not TOML",
    ]
