"""Logins to registries in the cluster: whose images are pulled with them, and where they stand."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from nvoi.kubernetes.manifests import Manifests
from nvoi.kubernetes.ownership import Reference, find_obsolete
from nvoi.kubernetes.releases import build_record
from tests.unit.config.texts import hetzner
from tests.unit.kubernetes import configs

APPS = """\
app:
  web: {servers: [main], port: 80, image: 'ghcr.io/acme/web:1', pre_run_command: migrate}
  own: {servers: [main]}
services: {search: {servers: [main], image: 'search:1'}}
database:
  servers: [main]
  adapter: postgres
  image: ghcr.io/acme/postgres:17
  secrets: {POSTGRES_USER: u, POSTGRES_PASSWORD: p, POSTGRES_DB: d}
"""
LOGIN = "registries: {ghcr.io: {username: acme, password: pa55word}, quay.io: {username: u, \
password: other}}\n"
NAME = "nvoi-shop-registries"


def build(text: str = LOGIN) -> Manifests:
    return configs.build(hetzner(text + APPS))


def list_pulled(manifests: Manifests) -> dict[str, Any]:
    """What the pods of each workload and Job are pulled with."""
    items: Any = manifests.all
    return {
        f"{item['kind']}/{item['metadata']['labels']['app.kubernetes.io/name']}": configs.pod_of(
            item
        ).get("imagePullSecrets")
        for item in items
        if "template" in item.get("spec", {})
    }


def test_pods_whose_images_are_in_a_registry_with_a_login_are_pulled_with_it() -> None:
    given = [{"name": NAME}]
    assert list_pulled(build()) == {
        "StatefulSet/database": given,
        "Job/web": given,
        "Deployment/search": None,
        "Deployment/web": given,
        "Deployment/own": None,
    }


def test_the_secret_holds_the_logins_that_the_app_s_images_need_and_no_others() -> None:
    (secret,) = build().logins
    item: Any = secret
    assert (item["metadata"]["name"], item["type"]) == (NAME, "kubernetes.io/dockerconfigjson")
    content = json.loads(b64decode(item["data"][".dockerconfigjson"]))
    assert content == {"auths": {"ghcr.io": {"auth": "YWNtZTpwYTU1d29yZA=="}}}
    assert build("registries: {quay.io: {username: u, password: other}}\n").logins == ()
    assert build("").logins == ()


def test_another_password_starts_nothing_anew_and_is_in_no_record() -> None:
    before, after = build(), build(LOGIN.replace("pa55word", "rotated"))
    assert before.logins != after.logins
    kept = [(*one.database, *one.jobs, *one.services, *one.apps) for one in (before, after)]
    assert kept[0] == kept[1]
    release = configs.build_release(hetzner(LOGIN + APPS))
    records = [build_record(release, items) for items in kept]
    assert records[0] == records[1]


def test_the_secret_stays_while_a_release_that_can_be_gone_back_to_needs_it() -> None:
    before, after = build(), build("")
    live: Any = before.kept
    kept = [find_obsolete("shop", live, after.kept, old) for old in ((), before.apps)]
    assert [Reference("Secret", NAME) in gone for gone in kept] == [True, False]
