from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from components.contracts.config import MediaLimits
from components.contracts.errors import DataError, MediaError, MerError, UnavailableError
from components.runtime.children import guarded
from components.runtime.children.guarded import BODY, ChildEndedError, Fields, Guarded, Handler
from components.runtime.patience import GivenUpError, OutOfTimeError, Patience

SERVE = f"{__name__}:serve"
LIMITS = MediaLimits(max_work_s=0.5, max_memory_mb=64)


def refuse() -> None:
    raise MediaError("bad", where="a.mp4", seen=3, allowed="good", remedy="Mend it", code="odd")


def refuse_oddly() -> None:
    raise DataError("worse", seen=frozenset({1}))


def defect() -> None:
    raise ZeroDivisionError("no such thing")


def spin() -> None:
    while True:
        pass


def scatter() -> None:
    """Frees 60 MB that lie before a block that stays."""
    blocks = [np.ones(100_000, dtype=np.uint8) for _ in range(600)]
    kept.append(np.ones(100_000, dtype=np.uint8))
    blocks.clear()


kept: list[object] = []


def imports(_: Fields) -> None:
    """What the children share: some megabytes of objects."""
    kept.extend([str(number)] for number in range(300_000))


def private_mb(child: Guarded) -> float:
    """What a child has for itself alone."""
    rollup = Path(f"/proc/{child.pid}/smaps_rollup").read_text()
    return int(rollup.split("Private_Dirty:")[1].split()[0]) / 1024


def serve(settings: Fields) -> Handler:
    """What the children of these tests do."""
    deeds: dict[str, Callable[[], object]] = {
        "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "leave": lambda: os._exit(3),
        "spin": spin,
        "wait": lambda: time.sleep(600),
        "hoard": lambda: np.ones(200 << 20, dtype=np.uint8),
        "scatter": scatter,
        "collect": gc.collect,
        "refuse": refuse,
        "refuse oddly": refuse_oddly,
        "defect": defect,
    }

    def handler(request: Fields) -> tuple[Fields, bytes | None]:
        if request["do"] in deeds:
            deeds[request["do"]]()
        body = request.pop(BODY, None)
        return {**settings, **request}, bytes([request["n"]]) if "n" in request else body

    return handler


def started(limits: MediaLimits = LIMITS) -> Guarded:
    return Guarded(SERVE, {"told": "once"}, limits)


@pytest.fixture(scope="module")
def child() -> Guarded:
    return started()


def test_a_child_gives_back_what_was_freed() -> None:
    child = started(MediaLimits())
    child.ask({"do": "say"})
    before = private_mb(child)
    for _ in range(3):
        child.ask({"do": "scatter"})
    child.ask({"do": "say"})
    assert private_mb(child) < before + 20
    child.close()


def test_a_collection_copies_nothing_that_children_share() -> None:
    """A collection writes to each object that it may free, and so copies its page."""
    child = started(MediaLimits())
    child.ask({"do": "say"})
    before = private_mb(child)
    child.ask({"do": "collect"})
    assert private_mb(child) < before + 2
    child.close()


def test_threads_take_turns_and_each_gets_its_own_answer(child: Guarded) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: child.ask({"do": "say", "n": n}), range(60)))
    assert answers == [({"told": "once", "do": "say", "n": n}, bytes([n])) for n in range(60)]
    assert child.ask({"do": "say"})[1] is None


def test_an_error_comes_out_as_it_was_raised(child: Guarded) -> None:
    pid = child.pid
    with pytest.raises(MediaError) as refused:
        child.ask({"do": "refuse"})
    with pytest.raises(MediaError) as raised:
        refuse()
    assert refused.value.__reduce__() == raised.value.__reduce__()
    with pytest.raises(DataError, match="worse; seen") as odd:
        child.ask({"do": "refuse oddly"})
    assert type(odd.value) is DataError
    with pytest.raises(RuntimeError, match="ZeroDivisionError: no such thing"):
        child.ask({"do": "defect"})
    with pytest.raises(RuntimeError, match="MemoryError"):
        child.ask({"do": "hoard"})
    assert child.pid == pid


@pytest.mark.parametrize(
    ("deed", "how"), [("segfault", "signal SIGSEGV, 2 times"), ("leave", "exit status 3, 2 times")]
)
def test_a_request_that_kills_the_child_is_tried_twice_and_the_next_one_is_answered(
    child: Guarded, deed: str, how: str
) -> None:
    before = child.pid
    with pytest.raises(ChildEndedError) as ended:
        child.ask({"do": deed})
    assert (ended.value.how, ended.value.over_work, ended.value.over_time) == (how, False, False)
    after = child.pid  # another one is being started, so that the next request need not wait for all of it
    assert after not in (None, before)
    assert child.ask({"do": "say"})[0]["do"] == "say"
    assert child.pid == after


def test_processor_time_and_time_by_the_clock_are_bounded(child: Guarded) -> None:
    with pytest.raises(ChildEndedError) as hung:
        child.ask({"do": "spin"})
    assert hung.value.over_work
    with pytest.raises(ChildEndedError) as short:
        started(MediaLimits()).ask({"do": "spin"}, work_s=0.1)
    assert short.value.over_work
    with pytest.raises(ChildEndedError) as asleep:
        child.ask({"do": "wait"}, patience=Patience(0.2))
    assert asleep.value.over_time
    assert child.ask({"do": "say"})[0]["do"] == "say"


def test_bytes_go_with_a_request(child: Guarded) -> None:
    body = bytes(range(256)) * 300
    assert child.ask({"do": "say"}, body) == ({"told": "once", "do": "say"}, body)


def test_a_caller_that_gives_up_ends_its_request_and_waits_no_longer_for_its_turn(child: Guarded) -> None:
    child.wait()
    working, waiting = Patience(), Patience()
    with ThreadPoolExecutor(3) as pool:
        asked = pool.submit(child.ask, {"do": "wait"}, patience=working)
        while not child._turn.locked():
            time.sleep(0.001)
        queued = pool.submit(child.ask, {"do": "say"}, patience=waiting)
        late = pool.submit(child.ask, {"do": "say"}, patience=Patience(0.05))
        with pytest.raises(OutOfTimeError):
            late.result()
        waiting.give_up()
        with pytest.raises(GivenUpError):
            queued.result()
        before = child.pid
        working.give_up()
        with pytest.raises(GivenUpError):
            asked.result()
    assert before is not None
    assert not psutil.pid_exists(before)
    assert child.ask({"do": "say"})[0]["do"] == "say"
    with pytest.raises(GivenUpError):
        child.ask({"do": "say"}, patience=working)


def test_the_child_ends_when_it_is_closed_and_when_nobody_holds_it() -> None:
    held = started()
    held.ask({"do": "say"})
    first = held.pid
    held.close()
    held.close()
    assert held.pid is None
    held.ask({"do": "say"})
    second = held.pid
    del held
    gc.collect()
    assert not any(psutil.pid_exists(pid) for pid in (first, second) if pid)


def test_the_child_ends_with_its_parent_however_that_ends() -> None:
    script = (
        "import os, signal; from tests.runtime.children.test_guarded import started; child = started()\n"
        "child.ask({'do': 'say'}); print(child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    orphan = int(done.stdout)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(orphan).wait(timeout=30)


def test_a_child_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "CHILD", "import sys; sys.exit(3)")
    with pytest.raises(UnavailableError, match=r"ended before its first file; seen 'exit status 3'"):
        started().wait()
    monkeypatch.undo()
    with pytest.raises(AttributeError, match="nothing"):
        Guarded(f"{__name__}:nothing", {}, LIMITS).wait()


def test_only_errors_of_the_project_are_made_of_what_a_child_says() -> None:
    told = {"kind": "Iterable", "what": "odd", "fields": {"code": "odd"}}
    assert type(guarded._error_of(told)) is MerError
