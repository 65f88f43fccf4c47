"""`make stack`: starts the parts, runs the main job against them, promotes its version, asks the service, ends it all.

Everything listens on loopback, secrets are made for the one stack, and nothing of it stays: not after the end, not
after Ctrl-C at any moment, not after an error. What the parts said is kept in `.mer/logs/stack/`.
"""

from __future__ import annotations

import argparse
import fcntl
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from components.contracts.errors import MerError, UnavailableError
from components.contracts.layout import Layout
from components.runtime.local_http import bypass_proxies
from components.runtime.own_folder import OwnFolder
from pipelines.background import Background, last_lines
from pipelines.cli import block
from pipelines.commands.service.mlflow_server import POLL_S
from pipelines.run import REGISTER
from pipelines.stack import project, prometheus
from pipelines.stack.parts import PARTS, Part
from pipelines.stack.place import Stack
from pipelines.stage import last_facts
from pipelines.start import INTERRUPTED

LOGS, LOCK = Path("logs") / "stack", ".lock"
JOB_S = 1200.0
SERVES_S, SCRAPED_S = 300.0, 60.0
# Exported by the reconciler through Ray, and asked for by an alert.
FIGURE = "ray_mer_champion_registered_timestamp_seconds"


def main() -> int:
    """Runs the stack and returns an exit code."""
    parser = argparse.ArgumentParser(prog="make stack", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="stay up at the end, until Ctrl-C")
    keep = parser.parse_args().keep
    bypass_proxies()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has it ignored, as for what runs behind `&`
        signal.signal(number, _interrupt)
    try:
        run(Path.cwd(), keep=keep)
    except MerError as error:
        print(block(error), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted; nothing of the stack is left.", file=sys.stderr)
        return INTERRUPTED
    return 0


def run(
    code: Path,
    *,
    parts: Sequence[Part] = PARTS,
    work: Callable[[Stack, Running], None] | None = None,
    keep: bool = False,
) -> None:
    """Starts the parts one after the other, does the work, and ends them in the opposite order.

    Args:
        code: the project's root.
        parts: those to start.
        work: what is done with them; the main job and what follows it by default.
        keep: whether to stay up afterwards, until Ctrl-C.

    Raises:
        UnavailableError: a part cannot run here, does not start, or ended; or a step failed.
    """
    lacking = {part.name: word for part in parts if (word := part.missing()) is not None}
    for part in parts:
        if part.name in lacking and not part.optional:
            raise UnavailableError(f"there is no {part.name} here", where="make stack", remedy=lacking[part.name])
    own = OwnFolder("mer-stack-")
    logs = Layout(code).state / LOGS
    with _only_stack(logs), _unwound(own.remove) as ends:
        stack = Stack.make(folder=own.path, logs=logs, code=code)
        project.make(stack)
        running: Running = {}
        for part in parts:
            if part.name in lacking:
                say(f"{part.name}: left out. {lacking[part.name]}")
            else:
                start(part, stack, running, ends)
        (work or main_job)(stack, running)
        if keep:
            say(f"MLflow {stack.tracking} · service {stack.url('service')} · Ctrl-C ends the stack")
            while True:
                look(running)
                time.sleep(1.0)


Running = dict[str, Background]


def start(part: Part, stack: Stack, running: Running, ends: ExitStack) -> None:
    """Starts a part and waits until it does its work. Raises UnavailableError where it does not."""
    begin = time.monotonic()
    process = Background(
        part.command(stack),
        log=stack.logs / f"{part.name}.log",
        environment=part.environment(stack),
        folder=stack.project if part.user() is None else Path("/"),
        user=part.user(),
        stop=part.stop,
    )
    ends.callback(process.end)
    process.start()
    running[part.name] = process
    wait(lambda: part.ready(stack), running, part.start_s, what=f"{part.name} did not start", log=process.log)
    say(f"{part.name}: up after {time.monotonic() - begin:.0f} s, port {stack.ports.get(part.name, '-')}")


def main_job(stack: Stack, running: Running) -> None:
    """The main job, its version promoted and served, a prediction by it, its outputs in the bucket."""
    step("run", ["run"], stack, running)
    version = _newest(stack)
    step("sign", ["sign", version, "--accept-gates", "--yes"], stack, running)  # two epochs pass no gate
    step("promote", ["promote", version], stack, running)
    wait(
        lambda: _served(stack) == version,
        running,
        SERVES_S,
        what=f"version {version} is not served",
        log=running["reconciler"].log,
    )
    say(f"served: {_predict(stack, version)}")
    step("push", ["push"], stack, running, program="dvc")
    if "prometheus" in running:
        log = running["prometheus"].log
        wait(lambda: prometheus.has(stack, FIGURE), running, SCRAPED_S, what=f"{FIGURE} has no value", log=log)
        say(f"prometheus: {prometheus.summary(stack)}")


def step(
    name: str, arguments: Sequence[str], stack: Stack, running: Running, *, program: str = "pipelines.cli"
) -> None:
    """Runs a command in the stack's project to its end. Raises UnavailableError where it fails."""
    begin = time.monotonic()
    process = Background(
        [sys.executable, "-m", program, *arguments],
        log=stack.logs / f"{name}.log",
        environment=stack.client,
        folder=stack.project,
        stop=signal.SIGINT,
    )
    try:
        process.start()
        wait(lambda: process.status() is not None, running, JOB_S, what=f"{name} takes too long", log=process.log)
    finally:
        process.end()
    if process.status() != 0:
        raise UnavailableError(
            f"{name} failed", where="make stack", seen=last_lines(process.log), remedy=f"Its log is {process.log}."
        )
    say(f"{name}: done after {time.monotonic() - begin:.0f} s")


def wait(done: Callable[[], bool], running: Mapping[str, Background], limit_s: float, *, what: str, log: Path) -> None:
    """Waits until something is so. Raises UnavailableError after the limit, or where a part has ended."""
    deadline = time.monotonic() + limit_s
    while not done():
        look(running)
        if time.monotonic() > deadline:
            raise UnavailableError(what, where="make stack", seen=last_lines(log), remedy=f"Its log is {log}.")
        time.sleep(POLL_S)


def look(running: Mapping[str, Background]) -> None:
    """Raises UnavailableError where a part has ended."""
    for name, process in running.items():
        if (status := process.status()) is not None:
            raise UnavailableError(
                f"{name} ended by itself",
                where="make stack",
                seen=f"exit status {status}\n{last_lines(process.log)}",
                remedy=f"Its log is {process.log}.",
            )


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


@contextmanager
def _only_stack(logs: Path) -> Iterator[None]:
    """Empties the folder of logs, which two stacks must not share. Raises UnavailableError where there is one."""
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnavailableError(
                "another `make stack` is active in this project", where=str(logs), remedy="Wait for it, or stop it"
            ) from error
        for log in (path for path in logs.iterdir() if path.name != LOCK):
            log.unlink()
        yield


@contextmanager
def _unwound(last: Callable[[], None]) -> Iterator[ExitStack]:
    """An ExitStack that nothing interrupts while it ends what was started; then `last`, as little."""
    with ExitStack() as outer:
        for number in (signal.SIGINT, signal.SIGTERM):
            outer.callback(signal.signal, number, signal.getsignal(number))
        outer.callback(last)
        with ExitStack() as ends:
            try:
                yield ends
            finally:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
                say("ending all parts …")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _newest(stack: Stack) -> str:
    """The version that the main job registered."""
    return str(last_facts(Layout(stack.project), REGISTER)["version"])


def _served(stack: Stack) -> str:
    from components.runtime.local_http import answer_of

    answer = answer_of(f"{stack.url('service')}/v1/version", timeout_s=5.0)
    return "" if answer is None else str(answer.json().get("version", ""))


def _predict(stack: Stack, version: str) -> str:
    """Asks the service once, with a key, for one of the corpus's own clips."""
    import httpx

    from components.serving.http.api_keys import KeyFile, Scope

    _, key = KeyFile(stack.keys).create("stack", scopes=[Scope.PREDICT])
    clip = min((Layout(stack.project).root / "data" / "datasets" / "synthetic" / "media").glob("*.mp4"))
    url = f"{stack.url('service')}/v1/predict"
    with clip.open("rb") as stream:
        answer = httpx.post(
            url,
            files={"clip": (clip.name, stream)},
            headers={"Authorization": f"Bearer {key}"},
            timeout=120.0,
            trust_env=False,
        )
    body = answer.json()
    if answer.status_code != httpx.codes.OK or body["model"]["version"] != version:
        raise UnavailableError("the service gave no answer by the version", where=url, seen=str(body)[:500])
    return f"version {version} judged {clip.name} as {body['emotion']} ({body['confidence']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
