"""The cluster's own word on what a manifest may hold: the JSON schemas of each version."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

VERSIONS = tuple(f"1.{minor}.0" for minor in range(30, 38))


@functools.cache
def load_folder(version: str) -> Any:
    # The strict schemas allow no field that they do not name.
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    return folder / f"v{version}-local-strict"


@functools.cache
def load_definitions(version: str) -> Registry[Any]:
    definitions = json.loads((load_folder(version) / "_definitions.json").read_text())
    return Resource.from_contents(definitions) @ Registry()


@functools.cache
def build_validator(version: str, kind: str, api_version: str) -> Draft202012Validator:
    group, _, version_of_it = api_version.rpartition("/")
    group = "-".join(filter(None, [group.partition(".")[0], version_of_it]))
    schema = json.loads((load_folder(version) / f"{kind.lower()}-{group}.json").read_text())
    return Draft202012Validator(schema, registry=load_definitions(version))


def find_errors(manifest: dict[str, Any], version: str) -> list[str]:
    return list(find_errors_in(json.dumps(manifest), version))


@functools.cache
def find_errors_in(text: str, version: str) -> tuple[str, ...]:
    """Many configs have an object that is the same: a look at one takes 10 ms."""
    manifest = json.loads(text)
    validator = build_validator(version, manifest["kind"], manifest["apiVersion"])
    errors = validator.iter_errors(manifest)
    return tuple(f"{error.json_path}: {error.message}" for error in errors)
