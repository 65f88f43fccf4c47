"""The project folder: where it is, and its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.contracts.config import Params, load_params
from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from components.contracts.rights import no_right
from components.contracts.room import no_room

MARKERS = ("params.yaml", "dvc.yaml")


def find_root(start: Path | None = None) -> Path:
    """The nearest folder from `start` (default: the current one) upwards that holds params.yaml and dvc.yaml.

    Raises:
        ConfigError: there is none.
    """
    here = (start or Path.cwd()).resolve()
    if (root := _root_above(here)) is not None:
        return root
    raise ConfigError(
        "neither this folder nor one above it is a mer project",
        where=str(here),
        allowed=f"a folder with {' and '.join(MARKERS)}",
        remedy="Change into the project's folder",
    )


def in_project() -> bool:
    """Whether the current folder is in a project."""
    return _root_above(Path.cwd().resolve()) is not None


def _root_above(here: Path) -> Path | None:
    folders = (here, *here.parents)
    return next((folder for folder in folders if all((folder / name).is_file() for name in MARKERS)), None)


def written(root: Path) -> tuple[Path, ...]:
    """The folders that a project writes to: outputs, local state, DVC's cache. Each may be on a disk of its own."""
    layout = Layout(root)
    return (root, root / "data", layout.state, root / ".dvc" / "cache")


@contextmanager
def refusals_named(root: Path) -> Iterator[None]:
    """Raises UnavailableError where the block meets a full disk or a file that this user has no right to."""
    try:
        yield
    except Exception as error:
        named = no_room(error, written(root)) or no_right(error)
        if named is None or named is error:
            raise
        raise named from error


def load(root: Path) -> Params:
    """The configuration of the project at `root`; errors as in `contracts.config.load_params`."""
    from components.datasets.registry import names  # the adapters, needed only where params.yaml is read

    return load_params(Layout(root).params, names())
