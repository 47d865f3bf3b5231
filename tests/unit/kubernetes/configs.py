"""Configs of many shapes, and the releases that are made of them."""

from __future__ import annotations

import textwrap
from functools import reduce
from typing import Any

from nvoi.config.schema import Application
from nvoi.kubernetes.manifests import Manifests, build_manifests
from nvoi.kubernetes.workloads import Release
from tests.unit.config.texts import EVERY_KEY, hetzner, parse, ssh

STAMP = "20260102030405"
IMAGE = f"10.43.0.100:5000/nvoi-shop:{STAMP}"

POSTGRES = """\
database:
  servers: [main]
  adapter: postgres
  mount: {data: /var/lib/postgresql/data}
  secrets: {POSTGRES_USER: shop, POSTGRES_PASSWORD: pa55 word, POSTGRES_DB: shop}
"""
MYSQL = """\
database:
  servers: [main]
  adapter: mysql
  mount: {data: /var/lib/mysql}
  secrets: {MYSQL_USER: shop, MYSQL_PASSWORD: pa55word, MYSQL_DATABASE: shop}
"""
SQLITE = """\
database:
  servers: [main]
  adapter: sqlite3
  mount: {data: /data}
"""
WEB = "app:\n  web: {servers: [main], port: 3000}\n"
VOLUME = "servers: {main: {volumes: {data: {}, Uploads_1: {}}}}"

TEXTS = {
    "every_key": EVERY_KEY.read_text(),
    "least": hetzner("app: {web: {servers: [main]}}"),
    "nothing": hetzner(),
    "web": hetzner(WEB),
    "ingress": ssh("""\
        domain_provider: {ingress: {email: ops@example.com}}
        servers: {main: {host: 203.0.113.10}}
        app: {web: {servers: [main], port: 3000, domain: example.com, subdomain: www}}
    """),
    "checks": hetzner("""\
        app:
          http: {servers: [main], port: 80, healthcheck: {path: /up, interval: 1500ms}}
          tcp: {servers: [main], port: 81, healthcheck: {type: tcp, timeout: 200ms, retries: 9}}
          exec: {servers: [main], healthcheck: {type: exec, command: 'test "$$" -gt $(A)'}}
    """),
    "postgres": hetzner(WEB + POSTGRES, VOLUME),
    "disk": hetzner(WEB + POSTGRES.replace("  mount: {data: /var/lib/postgresql/data}\n", "")),
    "mysql": hetzner(WEB + MYSQL, VOLUME),
    "mysql_elsewhere": hetzner(WEB + MYSQL.replace("/var/lib/mysql", "/elsewhere"), VOLUME),
    "sqlite3": hetzner(WEB + SQLITE, VOLUME),
    "url": hetzner(
        WEB + "database: {servers: [main], adapter: postgres, url: 'postgres://u:pa55@db/x'}"
    ),
    "groups": ssh("""\
        servers:
          main: {master: true, host: 10.0.0.1}
          Workers_2: {hosts: [10.0.0.2, 10.0.0.3]}
        app:
          web: {servers: [main, Workers_2], port: 80, replicas: 5, command: serve}
          under_score: {servers: [Workers_2], pre_run_command: 'echo "$A" $$'}
        services:
          redis: {servers: [Workers_2], image: 'redis:7', port: 6379, env: {PASSWORD: se-cret}}
    """),
    "mounts": hetzner(
        """\
        app:
          web:
            servers: [main]
            port: 80
            pre_run_command: bin/migrate
            pre_run_timeout: 2m
            mounts: {Uploads_1: /uploads, data: /data}
        services:
          search: {servers: [main], image: 'search:1', mount: {data: /data}}
        """,
        VOLUME,
    ),
    "names": hetzner(WEB + POSTGRES, VOLUME).replace(
        "name: shop", f"name: _{'a-very_long-name-' * 5}x"
    ),
}
NAMES = tuple(TEXTS)


def load_application(name_or_text: str) -> Application:
    text = TEXTS.get(name_or_text, name_or_text)
    return parse(textwrap.dedent(text), READY="$READY", PORT="1", DATABASE_URL="x").application


def build_release(name_or_text: str, **settings: Any) -> Release:
    defaults: dict[str, Any] = {"stamp": STAMP, "deploy_id": "run/1", "image": IMAGE}
    return Release(load_application(name_or_text), **(defaults | settings))


def build(name_or_text: str, **settings: Any) -> Manifests:
    return build_manifests(build_release(name_or_text, **settings))


def build_database(image: str) -> Any:
    """The objects of a postgres that runs another image."""
    text = TEXTS["postgres"]
    return build(
        text.replace("adapter: postgres\n", f"adapter: postgres\n    image: {image}\n")
    ).database


def find(manifests: Any, kind: str, name: str) -> Any:
    """The one manifest of a kind whose name begins with ``name``."""
    items: Any = manifests.all if isinstance(manifests, Manifests) else manifests
    found = [
        item for item in items if item["kind"] == kind and item["metadata"]["name"].startswith(name)
    ]
    assert len(found) == 1, (kind, name, [item["metadata"]["name"] for item in items])
    return found[0]


def pod_of(manifest: Any) -> Any:
    return manifest["spec"]["template"]["spec"]


def container_of(manifest: Any) -> Any:
    (container,) = pod_of(manifest)["containers"]
    return container


def dig(item: Any, path: str) -> Any:
    """What is at a path in a manifest; ``C`` and ``P`` are its container and its pod."""
    item = {"C": container_of, "P": pod_of}.get(path[0], lambda one: {"spec": one["spec"]})(item)
    keys = path.removeprefix("C.").removeprefix("P.").split(".")
    return reduce(lambda one, key: one[int(key) if key.isdecimal() else key], keys, item)
