"""Every key of params.yaml as a record: its present value, where that comes from, its default, bounds and meaning.

All of it is read from the typed sections (`components/contracts/config/`, and the `Options` of each dataset's adapter).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic.fields import FieldInfo

from components.contracts.config import Params, Section, meaning
from components.contracts.errors import ConfigError, nearest
from components.contracts.presets import PRESETS, WITHOUT
from components.datasets.about import plain
from components.datasets.registry import ADAPTERS, adapter

FILE = "params.yaml"
DEFAULT = "default"
NOT_SET = "not set"
# Filled by the reader of params.yaml; the sections of datasets are listed by their own names.
HIDDEN = "sources"
# What the type of a field cannot express, such as the names of datasets, which come from the registry of adapters.
EARLIER = "starter | number of a version | folder of a bundle | null"
CHOICES = {
    "datasets": f"list of {' | '.join(ADAPTERS)}, not empty",
    "train.start_from": EARLIER,
    "evaluate.compare_with": EARLIER,
    "tune.ranges": "mapping of settings to {low, high, log} or to a list of values",
}
KINDS = {"string": "text", "boolean": "true | false"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "multipleOf": "multiple of"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One key of params.yaml.

    Attributes:
        key: with the sections before it, joined by dots.
        value: the present value; also None where `needed` and not set.
        origin: params.yaml, the preset that sets or does not use the value, default, or "not set".
        default: the value when the key is not in params.yaml and no preset sets it; None where `needed`.
        needed: whether a value must be given.
        allowed: bounds and choices, in words.
        meaning: the effect of the value, its unit and its source.
    """

    key: str
    value: Any
    origin: str
    default: Any
    needed: bool
    allowed: str
    meaning: str

    @property
    def shown(self) -> str:
        """The value as written in params.yaml; a dash where there is none."""
        return "-" if self.origin == NOT_SET else plain(self.value)


def select(name: str | None, params: Params) -> list[Setting]:
    """The settings of a section, a dataset or a key; without a name all but those of datasets that are not in use.

    Raises:
        ConfigError: there is no such section or key, with the nearest name.
    """
    everything = {setting.key: setting for setting in every_setting(params)}
    if name is None:
        shown = {*params.datasets, *params.sources} | (set(Params.model_fields) - {HIDDEN})
        return [setting for key, setting in everything.items() if key.partition(".")[0] in shown]
    chosen = [setting for key, setting in everything.items() if key == name or key.startswith(f"{name}.")]
    if not chosen:
        raise _unknown(name, list(everything))
    return chosen


def every_setting(params: Params) -> Iterator[Setting]:
    """Every key of params.yaml, then every option of every dataset."""
    yield from _settings(params, default=Params(), preset=params.model.preset)
    for dataset in dict.fromkeys([*ADAPTERS, *params.sources]):
        section = params.sources.get(dataset, {})
        options = adapter(dataset, section).Options
        for name, field in options.model_fields.items():
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            yield Setting(
                key=f"{dataset}.{name}",
                value=section.get(name, _plain(default)),
                origin=FILE if name in section else NOT_SET if field.is_required() else DEFAULT,
                default=_plain(default),
                needed=field.is_required(),
                allowed=allowed(options, name),
                meaning=meaning(field),
            )


def _settings(
    section: Section, *, default: Section | None, preset: str, path: tuple[str, ...] = (), in_file: bool = True
) -> Iterator[Setting]:
    """The keys at and below a section.

    Args:
        section: with its present values.
        default: the section's value when it is left out; None when it is in params.yaml, so that a key left out of it
            has the default of its own field.
        preset: the preset, which may also set a value.
        path: of the section.
        in_file: whether the section is in params.yaml.
    """
    for name, field in type(section).model_fields.items():
        if name == HIDDEN and not path:
            continue
        value = getattr(section, name)
        key_in_file = in_file and name in section.model_fields_set
        left_out = _default(field) if default is None else getattr(default, name)
        if isinstance(value, Section):
            yield from _settings(
                value, default=None if key_in_file else left_out, preset=preset, path=(*path, name), in_file=key_in_file
            )
            continue
        yield Setting(
            key=".".join([*path, name]),
            value=_plain(value),
            origin=_origin(path, name, preset, in_file=key_in_file),
            default=_plain(left_out),
            needed=False,
            allowed=CHOICES.get(".".join([*path, name])) or allowed(type(section), name),
            meaning=meaning(field),
        )


def _origin(path: tuple[str, ...], name: str, preset: str, *, in_file: bool) -> str:
    section = path[0] if len(path) == 1 else ""
    if in_file:
        return FILE
    if name in WITHOUT[preset].get(section, ()):
        return f"unused by preset {preset}"
    return f"preset {preset}" if name in PRESETS[preset].get(section, {}) else DEFAULT


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def allowed(section: type[Section], name: str) -> str:
    """Bounds and choices of a field, in words."""
    return _in_words(_schema(section)["properties"][name])


@cache
def _schema(section: type[Section]) -> dict[str, Any]:
    return section.model_json_schema()


def _in_words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_in_words(part) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(plain(value) for value in schema.get("enum", [schema.get("const")]))
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        words = f"list of {_in_words(schema['items'])}"
    elif kind == "object":
        words = f"mapping of names to {_in_words(schema.get('additionalProperties', {}))}"
    else:
        words = KINDS.get(kind, kind)
    limits = [f"{sign} {plain(schema[bound])}" for bound, sign in BOUNDS.items() if bound in schema]
    if schema.get("minLength") or schema.get("minItems"):
        limits.append("not empty")
    if "pattern" in schema:
        limits.append(f"like {schema['pattern']}")
    return ", ".join([words, *limits])


def _plain(value: Any) -> Any:
    """A value as JSON represents it."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _unknown(name: str, keys: Sequence[str]) -> ConfigError:
    sections = {key[: dot.start()] for key in keys for dot in re.finditer(r"\.", key)}
    same = [key for key in keys if key.rpartition(".")[2] == name]
    return ConfigError(
        "unknown section or key",
        where="mer config",
        seen=name,
        allowed="a key listed by `mer config`, or the name of a dataset",
        remedy=f"Did you mean {' or '.join(map(repr, same))}?" if same else nearest(name, sorted([*sections, *keys])),
    )
