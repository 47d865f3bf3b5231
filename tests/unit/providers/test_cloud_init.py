from __future__ import annotations

import base64

import pytest

from nvoi.config.ssh_keys import load_private, write_public
from nvoi.providers.cloud_init import (
    FIRST_HOST_KEY,
    HOST_KEY,
    build_host_key_labels,
    decode_host_key,
    encode_host_key,
    generate_host_key,
    read_host_keys,
    replace_host_key_labels,
)
from nvoi.providers.rented import LABEL_VALUE

#: The key of test 1 of RFC 8032, 7.1, by `ssh-keygen` and `base32`.
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
RAW = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def test_a_pair_is_one() -> None:
    pair, other = generate_host_key(), generate_host_key()
    assert write_public(load_private(pair.private.reveal().encode())) == pair.public
    assert pair.public != other.public
    assert pair.private.reveal() not in repr(pair)


def test_a_key_is_the_same_after_its_label() -> None:
    label = encode_host_key(f"{PUBLIC} somebody")
    assert len(label) == 52
    assert LABEL_VALUE.fullmatch(label)
    assert decode_host_key(label) == PUBLIC
    assert base64.b32decode(f"{label.upper()}====").hex() == RAW


@pytest.mark.parametrize("text", ["", "a", "not base32!", "aaaa", "a" * 56, "ä"])
def test_a_label_of_others_is_no_key(text: str) -> None:
    assert decode_host_key(text) is None
    assert read_host_keys({HOST_KEY: text, FIRST_HOST_KEY: text}) == ((), False)


@pytest.mark.parametrize("text", ["", "ssh-ed25519 AAAA", "ecdsa-sha2-nistp256 AAAA", "words"])
def test_only_an_ed25519_key_becomes_a_label(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode_host_key(text)


def test_a_new_server_shows_the_key_that_it_was_made_with_or_the_next() -> None:
    first, following = generate_host_key().public, generate_host_key().public
    made = {"app": "shop", FIRST_HOST_KEY: encode_host_key(first)}
    assert read_host_keys(made) == ((first,), True)

    both = replace_host_key_labels(made, [first, following])
    assert read_host_keys(both) == ((first, following), True)

    last = replace_host_key_labels(both, [following])
    assert read_host_keys(last) == ((following,), False)
    assert last == {"app": "shop", **build_host_key_labels([following])}


def test_a_server_without_labels_of_keys_is_not_new() -> None:
    assert read_host_keys({"app": "shop"}) == ((), False)
