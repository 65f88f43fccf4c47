"""The program `mer` until its command runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import components.alignment.guard
from pipelines.start import ENDINGS, INTERRUPTED, MEDIA

# A shell's background job ignores SIGINT, and its children inherit that.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from pipelines.start import main
main()
"""
# In place of a module that the command line imports.
SLOW = "import time; print('importing', flush=True); time.sleep(600)"


def test_an_interrupt_during_the_imports_ends_it_in_good_order(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(SLOW)
    root = Path(__file__).resolve().parents[2]
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve"],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        shown = process.communicate(timeout=60)[1]
    assert process.returncode == INTERRUPTED
    assert shown == "\nInterrupted.\n"


# A command that is interrupted, and again while the interpreter ends.
TWICE = """
import atexit, os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
from pipelines import cli
def interrupted(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
cli.app = interrupted
cli.main(["serve"])
"""


def test_a_second_interrupt_while_it_ends_changes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=False)
    assert done.returncode == INTERRUPTED, done.stderr
    assert done.stderr == "\nInterrupted. Finished work is kept.\n"


BEGUN = """
import sys
from components.runtime.children.fork_server import fork_server
from pipelines.start import MEDIA, _begin
_begin(sys.argv[1:])
print(fork_server(MEDIA, bare=True)._process is not None)
"""


@pytest.mark.parametrize(("words", "begun"), [("predict a.wav", True), ("predict --help", False), ("run", False)])
def test_the_process_that_opens_media_begins_with_the_command_that_needs_it(words: str, begun: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGUN, *words.split()], capture_output=True, text=True, check=True
    ).stdout
    assert done == f"{begun}\n"
    assert (components.alignment.guard.__name__, components.alignment.guard.ENDINGS) == (MEDIA, ENDINGS)


# A command that has loaded torch, of which nothing but the name matters here, and has something to do at the end.
ENDS = """
import atexit, os, sys, types
from pipelines import cli
sys.modules["torch"] = types.ModuleType("torch")
atexit.register(print, "put away", flush=True)
class Taken:
    def __del__(self):
        print("taken down", flush=True)
sys.modules["kept"] = Taken()
def answers(*_, **__):
    print("answer")
    return 3
cli.app = answers
if len(sys.argv) > 1:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
cli.main()
"""


def test_a_process_with_torch_ends_with_what_is_to_be_done_but_is_not_taken_down() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "answer\nput away\n"), done.stderr
    full = subprocess.run([sys.executable, "-c", ENDS, "full"], capture_output=True, text=True, check=False)
    assert full.returncode != 3
    assert "No space left" in full.stderr
