"""The program `mer`: makes the imports of the command line, which take a second, and runs it. An interrupt during them
ends it as one at any later time does.

The process that opens media for `mer predict` makes its imports meanwhile: it has the longer way to go.
"""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130
MEDIA, ENDINGS = "components.alignment.guard", "endings"


def main() -> None:
    """The entry point; ends the process with the command's exit code."""
    try:
        _begin(sys.argv[1:])
        from pipelines.cli import main as command

        command()
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)  # half of the imports are made, and ending them in order may fail


def _begin(arguments: list[str]) -> None:
    """Starts the imports of the process that will open the files which the command line names."""
    if arguments[:1] == ["predict"] and not {"--help", "--url"} & set(arguments):
        from components.runtime.children.fork_server import fork_server

        # As `guard.prepare` does, whose module would have to be imported first; words and folders have no such ending.
        endings = [os.path.splitext(argument)[1].lower() for argument in arguments[1:] if argument[:1] != "-"]
        fork_server(MEDIA, bare=True).prepare({ENDINGS: endings})


if __name__ == "__main__":
    main()
