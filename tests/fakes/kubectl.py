"""What ``k3s kubectl`` does on a host: ``kubectl.py PORT ARGS…``.

The cluster itself is in the tests' process: see :mod:`tests.fakes.kubernetes`. Only what needs no
time to import is imported.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def ask(port: str, path: str, body: object) -> dict[str, object]:
    data = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        head = f"POST {path} HTTP/1.0\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    found: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def main(port: str, argv: list[str]) -> int:
    words = [word for word in argv if not word.startswith("--request-timeout")]
    if words[0] == "--register-node":
        ask(port, "/register", {"name": words[1], "given": json.loads(words[2])})
        return 0
    if words[0] == "--pull":
        answer = ask(port, "/pull", {"image": words[1], "login": os.environ.get("CRICTL_AUTH", "")})
    elif words[0] == "get":
        answer = ask(port, "/readyz", {})
    else:
        namespace, target, _, *command = words[1:]
        given = {"namespace": namespace.partition("=")[2], "target": target, "words": command}
        answer = ask(port, "/exec", given)
    sys.stdout.write(str(answer.get("stdout", "")))
    sys.stderr.write(str(answer.get("stderr", "")))
    return int(str(answer.get("exit", 0)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
