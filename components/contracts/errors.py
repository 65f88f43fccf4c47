"""Every error the project raises on purpose, in one tree.

    MerError
    ├── ConfigError        params.yaml or a command line is wrong                 exit 2
    ├── DataError          a corpus, a table or a label is wrong                  exit 3
    │   └── MediaError     one media file cannot be used                          exit 3
    ├── ContractError      a critical data expectation failed                     exit 4
    ├── ModelError         training, a checkpoint or a model shape is wrong       exit 5
    │   └── BundleError    a model bundle is damaged or does not fit this code    exit 5
    └── UnavailableError   a service or an optional part is missing               exit 7
        └── AccessError    who asks the service may not, or not so often          exit 7

A message states what is wrong, where, the value seen, the values allowed and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, Self

from components.contracts.codes import Code


class MerError(Exception):
    """Root of the tree; the command line exits with `exit_code`."""

    exit_code = 1
    code: Code = Code.ERROR

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        seen: object = None,
        allowed: object = None,
        remedy: str | None = None,
        code: Code | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.seen = seen
        self.allowed = allowed
        self.remedy = remedy
        if code is not None:
            self.code = code
        super().__init__(self._text())

    @classmethod
    def unknown(cls, kind: str, seen: str, allowed: Iterable[str], *, where: str | None = None) -> Self:
        """The error for a name that is not among the allowed ones, with the nearest of them."""
        names = list(allowed)
        return cls(f"unknown {kind}", where=where, seen=seen, allowed=", ".join(names), remedy=nearest(seen, names))

    def at(self, where: str) -> Self:
        """The same error at a different place: outputs name a file as its row does, not by its path on this machine."""
        return type(self)(self.what, **{**self.fields, "where": where})

    @property
    def fields(self) -> dict[str, Any]:
        """Everything but `what`, by the names of the constructor's arguments."""
        return {
            "where": self.where,
            "seen": self.seen,
            "allowed": self.allowed,
            "remedy": self.remedy,
            "code": self.code,
        }

    def _text(self) -> str:
        text = self.what
        if self.where:
            text = f"{self.where}: {text}"
        if self.seen is not None:
            text += f"; seen {self.seen!r}" if isinstance(self.seen, str) else f"; seen {self.seen}"
        if self.allowed is not None:
            text += f"; allowed: {self.allowed}"
        if self.remedy:
            text += f". {self.remedy}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default reduction, and these errors cross Ray workers.
        return _rebuild, (type(self), self.what, self.fields)


class ConfigError(MerError):
    """`params.yaml`, a `--set` value or a command line is wrong."""

    exit_code = 2
    code = Code.CONFIG


class DataError(MerError):
    """A corpus, a table or a label is wrong."""

    exit_code = 3
    code = Code.DATA


class MediaError(DataError):
    """One media file cannot be used; the clip goes to quarantine and the run goes on."""

    code = Code.MEDIA


class ContractError(MerError):
    """A critical data expectation failed; the stage stops."""

    exit_code = 4
    code = Code.CONTRACT


class ModelError(MerError):
    """Training, a checkpoint or a model shape is wrong."""

    exit_code = 5
    code = Code.MODEL


class BundleError(ModelError):
    """A model bundle is damaged, or was made for different code."""

    code = Code.BUNDLE


class UnavailableError(MerError):
    """A service, a device or an optional part that this call needs is missing."""

    exit_code = 7
    code = Code.UNAVAILABLE


class AccessError(UnavailableError):
    """Who asks the service may not: no key, a key for something else, one too many, or a stranger's page."""


def _rebuild(cls: type[MerError], what: str, fields: dict[str, Any]) -> MerError:
    return cls(what, **fields)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint such as ``Did you mean 'ravdess'?``, or an empty string when no name is near."""
    match = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f"Did you mean {match[0]!r}?" if match else ""


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those behind it: its causes, what was being handled, and the error of a Ray worker."""
    waiting, met = [error], set[int]()
    while waiting:
        link = waiting.pop(0)
        if id(link) in met:
            continue
        met.add(id(link))
        yield link
        behind = (link.__cause__, getattr(link, "cause", None), link.__context__)
        waiting += [other for other in behind if isinstance(other, BaseException)]
