"""From YAML to `Params`: the only place that reads `params.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from components.contracts.config.params import Params
from components.contracts.config.train import Train
from components.contracts.errors import ConfigError
from components.contracts.presets import defaults_of, with_preset


def load_params(path: Path, known_datasets: Iterable[str]) -> Params:
    """Reads and checks `params.yaml`.

    Args:
        path: the file.
        known_datasets: names that may stand in `datasets` and as sections of their own.

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
    known = tuple(known_datasets)
    if not isinstance(raw, dict):
        raise ConfigError("the configuration must be a mapping", where=where, seen=type(raw).__name__)
    sections = set(Params.model_fields) - {"sources"}
    for key in raw:
        if key not in sections and key not in known:
            raise ConfigError.unknown("key", str(key), sorted([*sections, *known]), where=where)
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
