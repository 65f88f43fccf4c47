"""`dvc` without its hints about git and remotes, as `mer run` starts it. DVC's warnings and errors are still printed.

DVC's own `--quiet` would hide which stage runs, and errors with it.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

LOCK_AND_GIT = ("dvc.dvcfile", "dvc.repo.scm_context")  # "Updating lock file", "To track the changes with git, run"
ADVICE = "Use `dvc push`"


def main(arguments: list[str]) -> int:
    """Runs a command of DVC and returns its exit code."""
    from dvc.cli import main as dvc
    from dvc.ui import ui

    for name in LOCK_AND_GIT:
        logging.getLogger(name).setLevel(logging.WARNING)
    write = ui.write

    def without_advice(*objects: Any, **options: Any) -> None:
        if not (objects and str(objects[0]).startswith(ADVICE)):
            write(*objects, **options)

    ui.write = without_advice
    return int(dvc(arguments) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
