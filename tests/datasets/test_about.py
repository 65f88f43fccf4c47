from __future__ import annotations

import pytest
from pydantic import Field

from components.contracts.config import Section
from components.contracts.labels import CANONICAL
from components.datasets.about import Option, layout_of, options_of, plain
from components.datasets.registry import ADAPTERS


class Base(Section):
    """What is stated of a base's fields holds."""

    licence: str = ""
    """The terms."""

    consent: str = ""
    """What people agreed to."""


class Example(Base):
    """A section."""

    root: str
    """The folder; its meaning goes on
    in a second line."""

    rates: dict[str, float] = Field(default_factory=dict)
    """Modality → samples per second."""

    silent: bool = True


def test_options_are_read_off_the_fields() -> None:
    assert options_of(Example) == [
        Option(key="licence", default='""', meaning="The terms."),
        Option(key="consent", default='""', meaning="What people agreed to."),
        Option(key="root", default=None, meaning="The folder; its meaning goes on in a second line."),
        Option(key="rates", default="{}", meaning="Modality → samples per second."),
        Option(key="silent", default="true", meaning=""),
    ]


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "null"), (True, "true"), (("a", 1), "[a, 1]"), ({"a": (2.5,)}, "{a: [2.5]}"), ("x", "x"), (0, "0")],
)
def test_values_are_shown_as_one_writes_them(value: object, written: str) -> None:
    assert plain(value) == written


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_every_adapter_says_what_a_person_asks_before_using_its_corpus(name: str) -> None:
    adapter = ADAPTERS[name]
    about = adapter.about
    for said in (about.title, about.modalities, about.how, about.consent, about.splits, adapter.licence):
        assert said
    assert layout_of(adapter)
    assert set(about.labels.values()) <= set(CANONICAL)
    if about.access in {"open", "apply"}:
        assert about.homepage.startswith("http")
        assert about.paper
        assert about.labels
    for option in options_of(adapter.Options):
        assert option.meaning, option.key
