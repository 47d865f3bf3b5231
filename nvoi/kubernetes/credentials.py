"""What the cluster's registry is logged in to with. It follows from the token of the cluster.

So it is made once, with the token, is the same in every run, and needs no place of its own: the
token is on the servers, where only root may read it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import bcrypt

from nvoi.secret import Secret, build_basic

USER = "nvoi"
PURPOSE = b"nvoi-registry"
# bcrypt slows down whoever guesses passwords; 256 bits are guessed by nobody, and the registry
# computes it at each request.
ROUNDS = 5
DIGITS_OF_SALT = 21
DIGITS_OF_MARK = 16


@dataclass(frozen=True)
class Credentials:
    user: str
    password: Secret

    @property
    def basic(self) -> Secret:
        return build_basic(self.user, self.password)

    @property
    def mark(self) -> str:
        """By it two are told from each other where everybody may look."""
        return hashlib.sha256(self.password.reveal().encode()).hexdigest()[:DIGITS_OF_MARK]


def build_credentials(token: Secret) -> Credentials:
    """The credentials of the cluster whose nodes join with ``token``.

    k3s itself keeps the token behind a hash of the cluster's authority, ``K10<hash>::server:``
    (k3s documentation, "k3s token", "Token format"): both forms give the same.
    """
    key = token.reveal().rpartition(":")[2].encode()
    return Credentials(USER, Secret(hmac.new(key, PURPOSE, hashlib.sha256).hexdigest()))


def build_htpasswd(credentials: Credentials) -> Secret:
    """The registry's file of users: bcrypt is all it takes (Distribution, "htpasswd").

    The salt follows from the password, or each deploy would start the registry anew. Its last
    letter holds two bits alone, and is one of four.
    """
    password = credentials.password.reveal().encode()
    digits = hashlib.sha256(b"salt:" + password).hexdigest()[:DIGITS_OF_SALT]
    salt = f"$2b${ROUNDS:02}${digits}O".encode()
    return Secret(f"{credentials.user}:{bcrypt.hashpw(password, salt).decode()}\n")
