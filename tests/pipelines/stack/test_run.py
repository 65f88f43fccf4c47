"""The supervisor, with small programs for parts."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from components.contracts.errors import UnavailableError
from pipelines.stack import project
from pipelines.stack import run as stack_run
from pipelines.stack.parts import Part
from pipelines.stack.place import Stack
from pipelines.stack.run import Running, run
from tests.pipelines.projects import ROOT

# Writes "ready" and waits; at its end it appends its name to a file.
PROGRAM = """
import signal, sys, time
def end(*_):
    open(sys.argv[2], "a").write(sys.argv[1] + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """What the stack needs of a project's root."""
    root = tmp_path / "code"
    for name in (*project.COPIED, str(project.SETTINGS)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    (tmp_path / "ended").touch()
    return root


def part(name: str, code: Path, program: str = PROGRAM, **fields: object) -> Part:
    command = [sys.executable, "-S", "-c", program, name, str(code.parent / "ended")]

    def ready(stack: Stack) -> bool:
        return "ready" in (stack.logs / f"{name}.log").read_text()

    return Part(name=name, command=lambda stack: command, ready=ready, start_s=20.0, **fields)  # type: ignore[arg-type]


def ended(code: Path) -> list[str]:
    return (code.parent / "ended").read_text().split()


def no_process(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


class Work:
    """Remembers the parts' processes and the stack's folder; then does something."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.then = then
        self.pids: list[int] = []
        self.folder = Path()

    def __call__(self, stack: Stack, running: Running) -> None:
        self.pids = [process._process.pid for process in running.values() if process._process]
        self.folder = stack.folder
        assert self.folder.is_dir()
        assert not any(secret in repr(stack) for secret in stack.secrets.values())
        self.then()


def interrupt() -> None:
    raise KeyboardInterrupt


def fail() -> None:
    raise UnavailableError("a step failed", where="here")


@pytest.mark.parametrize(
    ("then", "raised"), [(lambda: None, None), (interrupt, KeyboardInterrupt), (fail, UnavailableError)]
)
def test_parts_end_in_the_opposite_order_and_nothing_stays(
    code: Path, then: Callable[[], None], raised: type[BaseException] | None
) -> None:
    work = Work(then)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    parts = [part("first", code), part("second", code)]
    if raised is None:
        run(code, parts=parts, work=work)
    else:
        with pytest.raises(raised):
            run(code, parts=parts, work=work)
    assert len(work.pids) == 2
    assert no_process(work.pids)
    assert ended(code) == ["second", "first"]
    assert not work.folder.exists()
    assert {path.name for path in (code / ".mer" / "logs" / "stack").iterdir()} == {".lock", "first.log", "second.log"}
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.fixture
def heard() -> Iterator[None]:
    """SIGINT is heard, also where the shell that runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_a_part_starts_ends_what_runs(code: Path, heard: None) -> None:
    def interrupted(stack: Stack) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return False

    slow = Part(
        name="slow", command=lambda stack: [sys.executable, "-S", "-c", PROGRAM, "slow", "/dev/null"], ready=interrupted
    )
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        run(code, parts=[part("first", code), slow], work=Work())
    assert ended(code) == ["first"]
    left = set(psutil.Process().children(recursive=True)) - before
    assert [process for process in left if process.status() != "zombie"] == []


def test_a_part_that_ends_by_itself_is_named_with_its_last_words(code: Path) -> None:
    broken = part("broken", code, program="print('no room'); raise SystemExit(3)")
    with pytest.raises(UnavailableError, match="broken ended by itself") as caught:
        run(code, parts=[part("first", code), broken], work=Work())
    assert caught.value.seen == "exit status 3\nno room"
    assert ended(code) == ["first"]


def test_a_part_that_does_not_start_in_time_is_named(code: Path) -> None:
    slow = Part(name="slow", command=part("slow", code).command, ready=lambda stack: False, start_s=0.0)
    with pytest.raises(UnavailableError, match="slow did not start"):
        run(code, parts=[slow], work=Work())


def test_what_is_missing_is_said_before_anything_starts(code: Path) -> None:
    lacking = part("lacking", code, missing=lambda: "Install it.")
    with pytest.raises(UnavailableError, match="there is no lacking here") as caught:
        run(code, parts=[part("first", code), lacking], work=Work())
    assert caught.value.remedy == "Install it."
    assert not (code / ".mer").exists()


def test_what_is_missing_and_optional_is_left_out(code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lacking = part("lacking", code, missing=lambda: "Install it.", optional=True)
    work = Work()
    run(code, parts=[part("first", code), lacking], work=work)
    assert len(work.pids) == 1
    assert "lacking: left out. Install it." in capsys.readouterr().err


def test_two_stacks_of_a_project_do_not_mix_their_logs(code: Path) -> None:
    def second() -> None:
        with pytest.raises(UnavailableError, match="another `make stack` is active"):
            run(code, parts=[], work=Work())

    run(code, parts=[], work=Work(second))


def test_a_step_that_fails_is_named_with_its_last_words(code: Path) -> None:
    def work(stack: Stack, running: Running) -> None:
        stack_run.step("explain", ["no-such-file"], stack, running, program="json.tool")

    with pytest.raises(UnavailableError, match="explain failed") as caught:
        run(code, parts=[], work=work)
    assert "no-such-file" in str(caught.value.seen)
