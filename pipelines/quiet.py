"""What libraries say that nobody who runs the pipeline needs; warnings and errors of theirs come through."""

from __future__ import annotations

import logging

LEVELS = {
    "mlflow.store.db.utils": logging.WARNING,  # makes its tables
    "alembic": logging.WARNING,  # brings them up to date
    "ray.data._internal": logging.WARNING,  # how an execution went
    "ray.data._internal.progress": logging.ERROR,  # warns that its progress bars are off; ours are on
}


def quiet_libraries() -> None:
    """Sets the levels of their loggers; before or after they are imported, and without importing them."""
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
