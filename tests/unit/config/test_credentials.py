from __future__ import annotations

from pathlib import Path

import pytest

from nvoi.config.credentials import create_config, find_key, get_config_file, get_key
from nvoi.config.sealing import DeployKey, decrypt, encrypt
from nvoi.errors import CredentialsError
from nvoi.files import write_private
from nvoi.secret import Secret

KEY = Secret("00112233445566778899aabbccddeeff" * 2)
# Made by Ruby's OpenSSL::Cipher "aes-256-gcm" with KEY and the nonce 01 02 … 0c.
MADE_BY_RUBY = bytes.fromhex(
    "0102030405060708090a0b0c1b0275cc8174c4358397d5fb66cf3f7c12f3c6cd17828e2c5c98d48f6f17462923"
    "1deab6de012c8deb8139c482ad83e0b9f02e6a"
)


def test_a_file_made_by_the_gem_opens() -> None:
    assert decrypt(MADE_BY_RUBY, KEY).decode() == "application:\n  name: shop\n  # café\n"


def test_the_case_of_a_key_does_not_matter() -> None:
    assert decrypt(MADE_BY_RUBY, Secret(KEY.upper())) == decrypt(MADE_BY_RUBY, KEY)


def test_every_encryption_has_a_nonce_of_its_own() -> None:
    assert len({encrypt(b"same", KEY)[:12] for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("size", "told"), [(0, "0 bytes"), (1, "1 byte"), (12, "12 bytes"), (27, "27 bytes")]
)
def test_a_file_too_short_to_be_one_is_refused(size: int, told: str) -> None:
    with pytest.raises(CredentialsError, match=f"f is cut short: {told}, .*under 28"):
        decrypt(MADE_BY_RUBY[:size], KEY, filename="f")


@pytest.mark.parametrize("text", ["", "abc", "x" * 64, KEY + "0", KEY[:-1] + "é", "0x" + KEY[2:]])
def test_what_is_no_key_is_refused_without_being_shown(text: str, tmp_path: Path) -> None:
    (tmp_path / "deploy.key").write_text(text)
    with pytest.raises(CredentialsError, match="64 hexadecimal characters are needed") as caught:
        find_key(tmp_path, environ={})
    assert "deploy.key" in str(caught.value)
    assert len(text) < 3 or text not in str(caught.value)
    if text:
        with pytest.raises(CredentialsError, match=r"\$DEPLOY_KEY holds no deploy key"):
            find_key(tmp_path, environ={"DEPLOY_KEY": text})


# Where the key comes from

FOUND = {name: Secret(f"{index:x}" * 64) for index, name in enumerate("abcdef", start=1)}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Three folders with a deploy.key each, and a key file."""
    folders = {"beside": tmp_path / "enc", "dir": tmp_path, "config": tmp_path / "config"}
    for name, letter in (("beside", "d"), ("dir", "e"), ("config", "f")):
        folders[name].mkdir(exist_ok=True)
        write_private(folders[name] / "deploy.key", f"  {FOUND[letter].reveal()}\r\n\n".encode())
    write_private(tmp_path / "my.key", FOUND["a"].reveal().encode())
    return folders


def test_the_first_key_in_the_order_of_places_is_taken(
    tmp_path: Path, places: dict[str, Path]
) -> None:
    environ = {"NVOI_MASTER_KEY": f" {FOUND['b'].reveal()}\n", "DEPLOY_KEY": FOUND["c"].reveal()}
    config_file = tmp_path / "enc" / "deploy.enc"

    def find(key_file: Path | None = None) -> DeployKey:
        return get_key(tmp_path, environ=environ, config_file=config_file, key_file=key_file)

    explicit = find(tmp_path / "my.key")
    assert explicit == DeployKey(FOUND["a"], str(tmp_path / "my.key"), tmp_path / "my.key")
    assert find() == DeployKey(FOUND["b"], "$NVOI_MASTER_KEY")
    environ["NVOI_MASTER_KEY"] = ""
    assert find() == DeployKey(FOUND["c"], "$DEPLOY_KEY")
    environ["DEPLOY_KEY"] = " \n"
    for name, letter in (("beside", "d"), ("dir", "e"), ("config", "f")):
        path = places[name] / "deploy.key"
        assert find() == DeployKey(FOUND[letter], str(path), path)
        path.unlink()


def test_without_a_key_every_place_looked_at_is_named_once(tmp_path: Path) -> None:
    config_file = tmp_path / "deploy.enc"
    assert find_key(tmp_path, environ={}, config_file=config_file) is None
    with pytest.raises(CredentialsError) as caught:
        get_key(tmp_path, environ={}, config_file=config_file)
    message = str(caught.value)
    assert message.count(str(tmp_path / "deploy.key")) == 1
    assert str(tmp_path / "config" / "deploy.key") in message
    assert "$NVOI_MASTER_KEY and $DEPLOY_KEY are not set" in message


def test_a_key_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"cannot read .*other\.key: No such file"):
        find_key(tmp_path, environ={"DEPLOY_KEY": KEY.reveal()}, key_file=tmp_path / "other.key")


@pytest.mark.parametrize(
    ("mode", "safe"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False), (0o620, False)]
)
def test_a_key_file_open_to_others_is_a_warning(tmp_path: Path, mode: int, safe: bool) -> None:
    path = tmp_path / "my deploy.key"
    path.write_text(KEY.reveal())
    path.chmod(mode)
    key = get_key(tmp_path, environ={}, key_file=path)
    assert key.value == KEY
    expected = f"{path} is open to other users: chmod 600 '{path}'"
    assert key.warning == (None if safe else expected)


# Where the config is


def test_the_config_is_looked_for_in_the_directory_and_its_config_folder(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "deploy.enc").touch()
    assert get_config_file(tmp_path) == tmp_path / "config" / "deploy.enc"
    (tmp_path / "deploy.enc").touch()
    assert get_config_file(tmp_path) == tmp_path / "deploy.enc"
    (tmp_path / "other.yml").touch()
    assert get_config_file(tmp_path, tmp_path / "other.yml") == tmp_path / "other.yml"


def test_a_config_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError) as caught:
        get_config_file(tmp_path)
    assert str(tmp_path / "deploy.enc") in str(caught.value)
    assert str(tmp_path / "config" / "deploy.enc") in str(caught.value)
    assert "nvoi onboard" in caught.value.hint
    with pytest.raises(CredentialsError, match=r"there is no config .*gone\.yml"):
        get_config_file(tmp_path, tmp_path / "gone.yml")


# New files


def test_a_config_its_key_and_the_lines_that_keep_it_here_are_made_together(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    config, key = folder / "deploy.enc", folder / "deploy.key"
    create_config(config, "text", KEY, key_file=key, checkout=tmp_path)
    assert decrypt(config.read_bytes(), KEY) == b"text"
    assert key.read_text() == f"{KEY.reveal()}\n"
    assert [path.stat().st_mode & 0o777 for path in (config, key)] == [0o600, 0o600]
    lines = ["deploy.key*", ".deploy.key*", ".deploy.enc.*"]
    assert (folder / ".gitignore").read_text().splitlines() == lines
    # The engine reads the one in the root of what it builds from.
    assert (tmp_path / ".dockerignore").read_text().splitlines() == [f"**/{each}" for each in lines]
    assert not (folder / ".dockerignore").exists()
