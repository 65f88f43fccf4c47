"""From YAML to `Params`: the only place that reads `params.yaml`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from components.contracts.config.params import Params
from components.contracts.config.train import Train
from components.contracts.errors import ConfigError
from components.contracts.presets import defaults_of, with_preset

# The key by which the section of a dataset that has a name of its own says how the corpus is read.
ADAPTER = "adapter"
# Settings that went to a different section, so that an older file is answered with their new place.
MOVED = {
    **{f"train.{name}": f"runtime.{name}" for name in ("workers", "use_gpu", "max_failures")},
    "train.checkpoint_epochs": "runtime.checkpoint_minutes or runtime.checkpoint_steps",
}
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def load_params(path: Path, known_datasets: Iterable[str]) -> Params:
    """Reads and checks `params.yaml`.

    Args:
        path: the file.
        known_datasets: the adapters. Their names, and those of sections with the key `adapter`, may stand in
            `datasets`.

    Raises:
        ConfigError: the file is missing or no YAML mapping; a key or dataset is unknown (with the nearest name); a
            value is outside its bounds.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError("cannot read the configuration", where=str(path), seen=str(error.strerror)) from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError("this is no valid YAML", where=str(path), seen=str(error)) from error
    return parse_params(raw, known_datasets, where=path.name)


def parse_params(raw: object, known_datasets: Iterable[str], *, where: str = "params") -> Params:
    """Checks a configuration that has been read; errors as in `load_params`."""
    adapters = tuple(known_datasets)
    if not isinstance(raw, dict):
        raise ConfigError("the configuration must be a mapping", where=where, seen=type(raw).__name__)
    sections = set(Params.model_fields) - {"sources"}
    known = (*adapters, *_named(raw, {*sections, *adapters}, adapters, where))
    for key in raw:
        if key not in sections and key not in known:
            raise ConfigError.unknown("key", str(key), sorted([*sections, *known]), where=where)
    _refuse_moved(raw, where)
    sources = {name: raw[name] or {} for name in known if name in raw}
    body = {key: value for key, value in raw.items() if key in sections}
    try:
        filled = with_preset(body, where=where, loss_weights=Train.loss_weights())
        params = Params.model_validate({**filled, "sources": sources})
    except ValidationError as error:
        raise section_error(error, Params, where=where) from error
    for name in params.datasets:
        if name not in known:
            raise ConfigError.unknown("dataset", name, known, where=f"{where}: datasets")
    for section, names in defaults_of(params.model.preset, Train.loss_weights()).items():
        # A preset's default is a default: what is left open stays open for who dumps only what was set.
        given = body.get(section) or {}
        getattr(params, section).model_fields_set.difference_update(set(names) - set(given))
    return params


def _refuse_moved(raw: Mapping[Any, Any], where: str) -> None:
    for old, new in MOVED.items():
        section, _, key = old.partition(".")
        if isinstance(values := raw.get(section), Mapping) and key in values:
            raise ConfigError(
                "this setting has moved",
                where=f"{where}: {old}",
                seen=values[key],
                remedy=f"Remove it and write {new}: it changes how a training runs, not what comes out.",
            )


def _named(raw: Mapping[Any, Any], taken: Collection[str], adapters: Collection[str], where: str) -> list[str]:
    """The sections of datasets with names of their own: those with the key `adapter`.

    Raises:
        ConfigError: the adapter is unknown, the name cannot be one of a folder and a stage, or an adapter's own section
            names a different one.
    """
    named = [key for key, section in raw.items() if isinstance(section, dict) and ADAPTER in section]
    for name in named:
        adapter = raw[name][ADAPTER]
        if adapter not in adapters:
            raise ConfigError.unknown("adapter", str(adapter), adapters, where=f"{where}: {name}.{ADAPTER}")
        if name in taken and name != adapter:
            raise ConfigError(
                "this name has a meaning of its own",
                where=f"{where}: {name}",
                seen=f"{ADAPTER}: {adapter}",
                remedy="Give the dataset a name that is neither a section nor an adapter",
            )
        if not NAME.fullmatch(str(name)):
            raise ConfigError(
                "this cannot be the name of a dataset",
                where=where,
                seen=str(name),
                allowed="lower-case letters, digits and _, with a letter first, at most 40",
            )
    return [name for name in named if name not in taken]


def section_error(error: ValidationError, model: type[BaseModel], *, where: str) -> ConfigError:
    """The first complaint of a pydantic model as a ConfigError with the nearest key name.

    A key that is unknown goes before one that is missing: it is most often the missing one, misspelt.
    """
    complaints = error.errors()
    first = next((complaint for complaint in complaints if complaint["type"] == "extra_forbidden"), complaints[0])
    path = ".".join(str(part) for part in first["loc"])
    place = f"{where}: {path}" if path else where
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, [str(part) for part in first["loc"][:-1]])
        return ConfigError.unknown("key", str(first["loc"][-1]), known, where=place)
    return ConfigError(first["msg"], where=place, seen=repr(first["input"]))


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return sorted(model.model_fields)
