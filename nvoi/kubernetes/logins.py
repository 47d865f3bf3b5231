"""The app's logins to registries, in one Secret of its own, which its pods' images are pulled with.

It bears the same name in every release: what is gone back to pulls with the password of now, and
another password starts nothing anew. Source: Kubernetes documentation, "Pull an Image from a
Private Registry".
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable

from nvoi.config.registries import build_auths, find_login, select_logins
from nvoi.config.schema import Application
from nvoi.kubernetes.names import build_labels, build_metadata
from nvoi.naming import build_label, build_prefix, shorten

TYPE = "kubernetes.io/dockerconfigjson"
KEY = ".dockerconfigjson"
COMPONENT = "registries"


def build_login_name(app: str) -> str:
    return shorten(f"{build_label(build_prefix(app))}-{COMPONENT}")


def find_login_name(application: Application, image: str) -> str | None:
    """The Secret that an image is pulled with; None where it needs none."""
    if find_login(application.registries, image) is None:
        return None
    return build_login_name(application.name)


def build_logins(
    application: Application, images: Iterable[str], deploy_id: str
) -> list[dict[str, object]]:
    """The Secret with the logins that ``images`` need, where they need any."""
    logins = select_logins(application.registries, images)
    if not logins:
        return []
    name = build_login_name(application.name)
    labels = build_labels(application.name, COMPONENT, name, COMPONENT)
    content = json.dumps({"auths": build_auths(logins)}, sort_keys=True)
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": build_metadata(name, labels, deploy_id),
            "type": TYPE,
            "data": {KEY: b64encode(content.encode()).decode()},
        }
    ]
