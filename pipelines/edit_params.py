"""`--set key=value`: a change of `params.yaml` that keeps its comments and order, checked before it is written.

DVC reads values from the file, so a value has to be in it to take effect. `mer run --set` therefore edits the file and
prints the change; `git diff params.yaml` shows it, `git checkout params.yaml` undoes it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from components.contracts.atomic import atomic_file
from components.contracts.config import parse_params
from components.contracts.errors import ConfigError


def apply(path: Path, assignments: Sequence[str], known_datasets: Iterable[str]) -> list[str]:
    """Writes assignments such as ``train.epochs=5`` or ``datasets=[ravdess]`` into a `params.yaml`.

    Args:
        path: the file.
        assignments: dotted key, equals sign, a YAML value.
        known_datasets: as for `contracts.config.load_params`.

    Returns:
        One printable line per value that changed; the file is written only when there is one.

    Raises:
        ConfigError: an assignment has no key or no `=`, its value is not YAML, its path goes through a value that is
            not a section, or the resulting configuration is not valid. The file is then left as it was.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    document = yaml.load(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ConfigError("the configuration must be a mapping", where=str(path), seen=type(document).__name__)
    lines = []
    for assignment in assignments:
        key, value = parse(assignment)
        line = assign(document, key, value)
        if line is not None:
            lines.append(line)
    text = io.StringIO()
    yaml.dump(document, text)
    _check(text.getvalue(), known_datasets)
    if lines:
        with atomic_file(path) as beside:
            beside.write_text(text.getvalue(), encoding="utf-8")
    return lines


def parse(assignment: str) -> tuple[list[str], Any]:
    """``a.b=[1]`` → (["a", "b"], [1]). Raises ConfigError: no key, no `=`, or not YAML."""
    import yaml

    key, equals, text = assignment.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(
            "not an assignment", where="--set", seen=assignment, allowed="key=value, for example train.epochs=5"
        )
    try:
        return parts, yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError("the value is not valid YAML", where=f"--set {key}", seen=text) from error


def assign(document: Any, parts: list[str], value: Any) -> str | None:
    """Sets a value in a nested mapping; returns the change as a line, or None. Raises ConfigError: not a section."""
    section = document
    for index, part in enumerate(parts[:-1]):
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise ConfigError(
                "this is a value, not a section", where=f"--set {'.'.join(parts[: index + 1])}", seen=str(section)
            )
    last = parts[-1]
    missing = object()
    before = section.get(last, missing)
    if before == value and type(before) is type(value):
        return None
    section[last] = value
    was = "the default" if before is missing else str(_plain(before))
    return f"{'.'.join(parts)}: {was} -> {value}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


def _check(text: str, known_datasets: Iterable[str]) -> None:
    import yaml

    from components.datasets.registry import adapter

    params = parse_params(yaml.safe_load(text), known_datasets, where="params.yaml with --set")
    for name in params.datasets:
        section = params.sources.get(name, {})
        adapter(name, section).options(section)
