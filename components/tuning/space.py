"""Which settings are searched, and where: the section `tune`, checked against the settings that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.contracts.config import Params, Range, parse_params
from components.contracts.errors import ConfigError

SECTIONS = ("model", "train")
# Settings that decide how trials are compared, so they are the same in all of them.
FIXED = ("train.epochs", "train.refit", "train.start_from")
DIGITS = 3
EXAMPLE = "tune: {ranges: {train.learning_rate: {low: 5.0e-4, high: 1.0e-2, log: true}, model.width: [32, 64, 128]}}"


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """Where one setting is searched: among `choices`, or from `low` to `high`, both included."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def settled(self, value: Any) -> Any:
        """A proposal as it is written into `params.yaml`: whole, or rounded within the bounds."""
        if self.choices:
            return value
        if self.whole:
            return int(value)
        return min(self.high, max(self.low, float(f"{value:.{DIGITS}g}")))

    def __contains__(self, value: Any) -> bool:
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Space:
    """The dimensions by dotted setting, of a configuration whose values are the present ones."""

    params: Params
    dimensions: Mapping[str, Dimension]

    @classmethod
    def of(cls, params: Params) -> Space:
        """That of the section `tune`.

        Raises:
            ConfigError: there is no range; a setting is unknown or cannot be searched; a bound or a choice is not
                allowed for it.
        """
        if not params.tune.ranges:
            raise ConfigError("there is nothing to search", where="params.yaml: tune.ranges", remedy=f"Write {EXAMPLE}")
        dimensions = {name: _dimension(name, where, params) for name, where in sorted(params.tune.ranges.items())}
        return cls(params=params, dimensions=dimensions)

    @property
    def present(self) -> dict[str, Any] | None:
        """The present values; None where one is outside its dimension."""
        values = {name: _value(self.params, name) for name in self.dimensions}
        return values if values in self else None

    def __contains__(self, values: Mapping[str, Any]) -> bool:
        return values.keys() == self.dimensions.keys() and all(
            values[name] in dimension for name, dimension in self.dimensions.items()
        )

    def settled(self, proposal: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a proposal as they are tried and written."""
        return {name: dimension.settled(proposal[name]) for name, dimension in self.dimensions.items()}

    def fixed(self) -> dict[str, Any]:
        """The other settings of a training: together with a trial's values they decide what comes out of it."""
        others: dict[str, Any] = {}
        for section in SECTIONS:
            values = getattr(self.params, section).model_dump(mode="json")
            others[section] = {key: value for key, value in values.items() if f"{section}.{key}" not in self.dimensions}
        others["train"].pop("refit")
        others["train"].pop("start_from")
        return others


def applied(params: Params, values: Mapping[str, Any]) -> Params:
    """The configuration with these values, trained once; what `params.yaml` leaves open is filled in anew.

    Raises:
        ConfigError: a value is not allowed, by itself or beside the others.
    """
    given = params.model_dump(exclude_unset=True)
    sources = given.pop("sources", {})
    for name, value in {"train.refit": False, **values}.items():
        section, _, key = name.partition(".")
        given[section] = {**given.get(section, {}), key: value}
    known = sorted({*params.datasets, *sources})
    return parse_params({**given, **sources}, known, where="tune: " + in_words(values))


def in_words(values: Mapping[str, Any]) -> str:
    """Such as `model.width=64, train.learning_rate=0.002`."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _dimension(name: str, where: Range | tuple[Any, ...], params: Params) -> Dimension:
    section = name.partition(".")[0]
    place = f"params.yaml: tune.ranges.{name}"
    allowed = [f"{part}.{field}" for part in SECTIONS for field in type(getattr(params, part)).model_fields]
    if section not in SECTIONS or name not in allowed:
        raise ConfigError.unknown("setting", name, allowed, where=place)
    if name in FIXED:
        raise ConfigError("this setting is the same in every trial", where=place, remedy="Set it in its own section")
    if not isinstance(where, Range):
        if not where:
            raise ConfigError("there is no value to choose from", where=place, seen="[]")
        return Dimension(choices=tuple(_value(applied(params, {name: choice}), name) for choice in where))
    present = _value(params, name)
    if isinstance(present, bool) or not isinstance(present, int | float):
        raise ConfigError("a range is of numbers", where=place, seen=present, allowed="a list of values")
    for bound in (where.low, where.high):
        applied(params, {name: bound})
    whole = isinstance(present, int)
    return Dimension(low=where.low, high=where.high, log=where.log, whole=whole)


def _value(params: Params, name: str) -> Any:
    section, _, key = name.partition(".")
    return getattr(getattr(params, section), key)
