"""The configuration with `--root` and `--set` applied, for commands that only read; params.yaml is not changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.config import Params, Section, parse_params
from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from components.datasets.base import Adapter
from components.datasets.registry import adapter, names
from pipelines.edit_params import assign, parse
from pipelines.project import find_root


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """A dataset, its options, and the rest of the configuration."""

    layout: Layout
    params: Params
    adapter: Adapter[Any]
    options: Section


def settings(name: str, *, root: str | None = None, assignments: Sequence[str] = ()) -> DatasetSettings:
    """The configuration of a dataset, in use or not.

    Args:
        name: of the dataset.
        root: overrides `<name>.root`: an address (`s3://…`), or a path relative to the current folder.
        assignments: such as ``cremad.label=voice``; see `edit_params.apply`.

    Raises:
        ConfigError: the dataset, a key or a value is wrong.
    """
    import yaml

    layout = Layout(find_root())
    try:
        document = yaml.safe_load(layout.params.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ConfigError("not valid YAML", where=str(layout.params), seen=str(error)) from error
    if not isinstance(document, dict):
        raise ConfigError("the configuration must be a mapping", where=str(layout.params))
    section = document.get(name)
    corpus = adapter(name, section if isinstance(section, dict) else None)
    document["datasets"] = [name]
    if root is not None:
        if "root" not in corpus.Options.model_fields:
            places = ", ".join(f"--set {name}.{key}=…" for key in corpus.Options.model_fields if corpus.is_place(key))
            raise ConfigError("this dataset has no root", where="--root", seen=root, allowed=places or None)
        assign(document, [name, "root"], root if "://" in root else str(Path.cwd() / Path(root).expanduser()))
    for assignment in assignments:
        assign(document, *parse(assignment))
    params = parse_params(document, names(), where="params.yaml with --set")
    return DatasetSettings(
        layout=layout, params=params, adapter=corpus, options=corpus.options(params.sources.get(name, {}))
    )
