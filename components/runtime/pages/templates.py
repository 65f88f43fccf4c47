"""Rendering of Jinja2 templates, which lie beside the code that fills them."""

from __future__ import annotations

from pathlib import Path


def render(template: Path, /, **values: object) -> str:
    """A template as text; in an `.html.j2` every value is escaped unless it is markup.

    Raises:
        jinja2.UndefinedError: the template uses a value that is not given.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=template.name.endswith(".html.j2"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(**values)
