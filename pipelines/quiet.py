"""Silences routine messages of libraries; their warnings and errors are still printed."""

from __future__ import annotations

import logging

LEVELS = {
    "mlflow.store.db.utils": logging.WARNING,  # creation of its tables
    "alembic": logging.WARNING,  # migration of its tables
    "ray.data._internal": logging.WARNING,  # statistics of an execution
    "ray.data._internal.progress": logging.ERROR,  # warns that its progress bars are off; ours are on
}


def quiet_libraries() -> None:
    """Sets the levels of their loggers; before or after they are imported, and without importing them."""
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
