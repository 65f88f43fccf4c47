"""What every section of the configuration is, and the names that several of them share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.fields import FieldInfo

MODALITIES: tuple[str, ...] = ("face", "voice", "text", "physio")


# `starter`, the number of a registered version, or the folder of a bundle; YAML reads a plain number as one.
EarlierName = Annotated[
    str, BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value)
]


class Section(BaseModel):
    """A frozen part of the configuration; unknown keys are errors.

    The text below a field says what it means, in which unit and after which source; `mer config` prints it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def meaning(field: FieldInfo) -> str:
    """What the text below a field says, as one paragraph."""
    return " ".join((field.description or "").split())
