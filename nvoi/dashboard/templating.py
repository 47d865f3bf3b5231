"""Templates, and the documents made of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from nvoi.dashboard import formats


def render(name: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """The template ``name`` as an answer. Every value is escaped."""
    text = _load_environment().get_template(name).render(**values)
    # Lone surrogates have no bytes; what was stored has none, a query may.
    return HTMLResponse(text.encode("utf-8", "replace"), status_code)


@cache
def _load_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nvoi.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        ago=formats.format_ago,
        app_url=formats.build_app_url,
        clean=formats.clean_text,
        clock=formats.format_clock,
        duration=formats.format_duration,
        iso=formats.format_iso,
        name=formats.clean_name,
        provider=formats.name_provider,
        short_sha=formats.shorten_sha,
        split_links=formats.split_links,
        utc=formats.format_utc,
    )
    environment.tests.update(web_url=formats.is_web_url)
    return environment
