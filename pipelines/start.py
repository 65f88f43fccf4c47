"""The program `mer`: makes the imports of the command line, which take a second, and runs it. An interrupt during them
ends it as one at any later time does."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> None:
    """The entry point; ends the process with the command's exit code."""
    try:
        from pipelines.cli import main as command

        command()
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)  # half of the imports are made, and ending them in order may fail


if __name__ == "__main__":
    main()
