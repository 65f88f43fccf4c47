from __future__ import annotations

import pytest
from pydantic import Field

from components.contracts.config import Section
from components.contracts.labels import CANONICAL
from components.datasets.about import Option, attributes_of, layout_of, options_of, plain
from components.datasets.registry import ADAPTERS


class Base(Section):
    """What bases say counts.

    Attributes:
        licence, consent: the terms.
    """

    licence: str = ""
    consent: str = ""


class Example(Base):
    """A section.

    Attributes:
        root: the folder; its meaning goes on
            in a second line.
        rates: modality → samples a second.

    A paragraph after: it is no option.
    """

    root: str
    rates: dict[str, float] = Field(default_factory=dict)
    silent: bool = True


def test_options_are_read_off_the_schema_and_the_docstrings() -> None:
    assert options_of(Example) == [
        Option(key="licence", default='""', meaning="the terms."),
        Option(key="consent", default='""', meaning="the terms."),
        Option(key="root", default=None, meaning="the folder; its meaning goes on in a second line."),
        Option(key="rates", default="{}", meaning="modality → samples a second."),
        Option(key="silent", default="true", meaning=""),
    ]


def test_a_docstring_without_attributes_says_nothing() -> None:
    assert attributes_of("A section.\n\nroot: this is prose") == {}


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
