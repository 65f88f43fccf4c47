"""The command `mer`. Each command imports its dependencies when it runs, so that `mer --help` is fast.

Exit codes: 0 done · 2 configuration or command line · 3 data · 4 data contract · 5 model · 7 a service or
resource is unavailable · 130 interrupted · 1 a defect of the program (with its traceback).
"""

from __future__ import annotations

import atexit
import codecs
import locale
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer._click.exceptions import UsageError  # has no public name; the lock pins typer

from components.contracts.errors import ConfigError, MerError
from components.runtime.local_http import bypass_proxies
from pipelines.commands import pipeline_cli, service_cli
from pipelines.commands.backup import cli as backup_cli
from pipelines.commands.config import cli as config_cli
from pipelines.commands.datasets import cli as datasets_cli
from pipelines.commands.quarantine import cli as quarantine_cli
from pipelines.commands.service import keys
from pipelines.commands.withdrawal import cli as withdrawal_cli
from pipelines.kubeflow import cli as kubeflow_cli
from pipelines.project import find_root, refusals_named
from pipelines.start import INTERRUPTED

UTF8_MODE = "PYTHONUTF8"
DEFECT = 1

app = typer.Typer(
    name="mer",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Multimodal emotion recognition over time: from raw clips to a promoted, served model.\n\n\b\n"
    "Examples:\n  mer run                  run the pipeline end to end; unchanged stages are skipped\n"
    "  mer serve                serve the MLflow UI and the model, on loopback\n"
    "  mer predict clip.mp4     recognise the emotions in a clip, without a server\n"
    "  mer describe             list every stage with its inputs and outputs",
)


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"mer {version('mer')}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of `mer` itself; the help text belongs to the app."""


# In the order of `mer --help`.
COMMANDS: Mapping[str, Callable[..., None]] = {
    "run": pipeline_cli.run,
    **pipeline_cli.stage_commands(),
    "accept": pipeline_cli.accept,
    "ablate": pipeline_cli.ablate,
    "tune": pipeline_cli.tune,
    "reproduce": pipeline_cli.reproduce,
    "describe": pipeline_cli.describe,
    "config": config_cli.config,
    "retrain": kubeflow_cli.retrain,
    "drift": service_cli.drift,
    "rayjob": kubeflow_cli.rayjob,
    "serve": service_cli.serve,
    "predict": service_cli.predict,
    "adapt": service_cli.adapt,
    "submit": service_cli.submit,
    "gates": service_cli.gates,
    "sign": service_cli.sign,
    "promote": service_cli.promote,
    "reconcile": service_cli.reconcile,
    "webhook": service_cli.webhook,
    "backup": backup_cli.backup,
    "restore": backup_cli.restore,
    "withdraw": withdrawal_cli.withdraw,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(datasets_cli.app, name="datasets")
app.add_typer(kubeflow_cli.kfp, name="kfp", help="The Kubeflow pipeline, generated from dvc.yaml.")
app.add_typer(kubeflow_cli.schedule, name="schedule")
app.add_typer(keys.app, name="keys")
app.add_typer(quarantine_cli.app, name="quarantine", help="Inspect and readmit the clips that were set aside.")


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: runs a command and ends the process with its exit code."""
    if arguments is None:
        in_utf8()
    code = call(arguments)
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the key pressed again, while it ends already
        if "ray" in sys.modules:
            _leave(code)
    if arguments is None and "torch" in sys.modules and threading.active_count() == 1:
        with suppress(OSError):  # the interpreter says what could not be written
            _leave(code)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """Ends the process without taking the interpreter down: where an interrupt came while Ray was starting, its threads
    crash in that, and with torch it takes most of a second."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def in_utf8() -> None:
    """Restarts this program in Python's UTF-8 mode where the locale has a different encoding: names of files, tables
    and messages contain letters that it lacks. Children inherit the mode."""
    if sys.flags.utf8_mode or codecs.lookup(locale.getencoding()).name == "utf-8" or os.environ.get(UTF8_MODE) == "1":
        return
    os.environ[UTF8_MODE] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def call(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; errors are printed to standard error."""
    bypass_proxies()  # before anything opens a connection or starts a child
    try:
        with refusals_named(_root()):
            code = app(list(arguments) if arguments is not None else None, standalone_mode=False) or 0
    except UsageError as error:
        error.show()
        return error.exit_code
    except MerError as error:
        print(block(error), file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception:
        traceback.print_exc()
        print(
            "\nThis is a defect of mer, not of your input. Please report it with the lines above.",
            file=sys.stderr,
        )
        return DEFECT
    if code == INTERRUPTED:  # typer turns KeyboardInterrupt into this code by itself
        print("\nInterrupted. Finished work is kept.", file=sys.stderr)
    return int(code)


def _root() -> Path:
    """The project around the current folder, or that folder; of a folder that was deleted, the root of all."""
    try:
        return find_root()
    except ConfigError:
        return Path.cwd()
    except OSError:
        return Path("/")


def block(error: MerError) -> str:
    """An error of the project's tree as one block of lines."""
    rows = [
        ("where", error.where),
        ("seen", error.seen),
        ("allowed", error.allowed),
        ("try", error.remedy),
    ]
    lines = [f"error ({error.code}): {error.what}"]
    lines += [f"  {name:<8} {value}" for name, value in rows if value not in (None, "")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
