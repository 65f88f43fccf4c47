"""Single steps against a real registry, with a stand-in for Serve that can fail and die at will.

`test_under_load.py` has the real Serve.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.contracts.config import Rollout
from components.contracts.errors import UnavailableError
from components.rollout.actual import ServedApplication
from components.rollout.decide import Action
from components.rollout.reconcile import Loop, Reconciler
from components.rollout.trial import TRIAL
from components.rollout.versions import AT, CODE, REASON, STATE, MlflowVersions
from components.serving.assignment import Assignment, Trial
from components.serving.trial import TrialCounts
from tests.rollout.registry import KEYS, TinyRegistry
from tests.serving.bundles import break_goldens, tiny_bundle

pytestmark = pytest.mark.integration


class ServeStandIn:
    """Deploys every version at once, except those in `fails`."""

    def __init__(self) -> None:
        self.state = ServedApplication(phase="absent")
        self.fails: set[str] = set()
        self.deployed: list[str | None] = []
        self.counted: dict[str, TrialCounts] = {}

    def actual(self) -> ServedApplication:
        return self.state

    def trial_counts(self, trial: str) -> TrialCounts | None:
        return self.counted.get(trial)

    def deploy(self, version: Assignment | None) -> None:
        self.deployed.append(version.version if version else None)
        failed = version is not None and version.version in self.fails
        self.state = ServedApplication(
            phase="failed" if failed else "running", applied=version, message="no memory left"
        )


class World:
    """A registry, a stand-in for Serve, and a reconciler between them."""

    def __init__(self, uri: str, name: str, folder: Path) -> None:
        (folder / "registry").mkdir(parents=True)
        self.folder = folder
        self.registry = TinyRegistry(uri, name, folder / "registry")
        self.serve = ServeStandIn()
        self.restart()

    def restart(self) -> None:
        """A new reconciler, as after a restart of its process."""
        self.reconciler = Reconciler(
            versions=MlflowVersions(model_name=self.registry.name, alias="champion", tracking_uri=self.registry.uri),
            control=self.serve,
            tracking_uri=self.registry.uri,
            cache=self.folder / "cache",
            keys=KEYS,
            golden_tolerance=1e-4,
            remembered=self.folder / "served.json",
        )

    def add(self, seed: int, *, broken: bool = False, gates: str | None = "true", sha256: str | None = None) -> str:
        folder = self.folder / f"bundle-{seed}"
        own_sha256 = tiny_bundle(folder, seed=seed)
        if broken:
            own_sha256 = break_goldens(folder)
        return self.registry.add(folder, sha256 or own_sha256, gates=gates)

    def settle(self) -> Action:
        """Steps until nothing is left to do."""
        for _ in range(10):
            action = self.reconciler.reconcile_once()
            if action.kind == "keep":
                return action
        raise AssertionError(f"does not settle: {action}")

    def state(self, version: str) -> str | None:
        return self.registry.tags(version).get(STATE)


@pytest.fixture
def world(mlflow_uri: str, tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return World(mlflow_uri, request.node.name, tmp_path)


def test_promote_and_roll_back(world: World) -> None:
    world.settle()
    assert world.serve.deployed == [None]
    first, second = world.add(1), world.add(2)
    for promoted, other in ((first, None), (second, first), (first, second)):
        world.registry.promote(promoted)
        world.settle()
        assert world.serve.deployed[-1] == promoted
        assert world.state(promoted) == "serving"
        assert other is None or world.state(other) == "superseded"


def test_nothing_changes_once_the_states_agree(world: World) -> None:
    version = world.add(1)
    world.registry.promote(version)
    world.settle()
    at, deployed = world.registry.tags(version)[AT], list(world.serve.deployed)
    for _ in range(3):
        world.restart()
        assert world.settle().kind == "keep"
    assert world.registry.tags(version)[AT] == at
    assert world.serve.deployed == deployed


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ({"gates": None}, "no tag gates.passed"),
        ({"gates": "false"}, "the gates did not pass"),
        ({"broken": True}, "golden examples do not hold"),
        ({"sha256": "0" * 64}, "bundle is not the one that its tag names"),
    ],
)
def test_what_may_not_be_served_never_reaches_the_replicas(world: World, flaw: dict[str, object], reason: str) -> None:
    good = world.add(1)
    world.registry.promote(good)
    world.settle()
    bad = world.add(2, **flaw)  # type: ignore[arg-type]
    world.registry.promote(bad)
    world.settle()
    assert bad not in world.serve.deployed
    assert world.state(bad) == "refused"
    assert reason in world.registry.tags(bad)[REASON]
    assert world.state(good) == "serving"


def test_a_version_that_replicas_cannot_load_is_replaced_by_the_old_one(world: World) -> None:
    good, heavy = world.add(1), world.add(2)
    world.registry.promote(good)
    world.settle()
    world.serve.fails.add(heavy)
    world.registry.promote(heavy)
    world.settle()
    assert world.serve.deployed[-2:] == [heavy, good]
    assert (world.state(heavy), world.state(good)) == ("refused", "serving")
    assert "no memory left" in world.registry.tags(heavy)[REASON]
    # Deleting the state makes it eligible again, and now it loads.
    world.serve.fails.clear()
    world.registry.client.delete_model_version_tag(world.registry.name, heavy, STATE)
    world.settle()
    assert (world.state(heavy), world.state(good)) == ("serving", "superseded")


def test_serve_and_reconciler_restart_while_the_alias_names_a_refused_version(world: World) -> None:
    good = world.add(1)
    world.registry.promote(good)
    world.settle()
    world.registry.promote(world.add(2, broken=True))
    world.settle()
    world.serve.state = ServedApplication(phase="absent")
    world.restart()
    world.settle()
    assert world.serve.deployed[-1] == good
    assert world.state(good) == "serving"


def test_mended_files_end_a_refusal_but_what_the_replicas_failed_at_does_not(world: World) -> None:
    good, damaged = world.add(1), world.add(2)
    world.registry.promote(good)
    world.settle()
    weights = sorted(world.registry.folder.iterdir())[-1] / "data" / "bundle" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"!")
    world.registry.promote(damaged)
    world.settle()
    assert world.state(damaged) == "refused"
    assert world.registry.tags(damaged)[CODE] == "bundle"
    weights.write_bytes(whole)
    world.settle()  # it was checked a moment ago
    assert world.state(damaged) == "refused"
    world.serve.fails.add(damaged)
    world.restart()  # checks at once
    world.settle()
    assert world.serve.deployed == [good, damaged, good]
    assert world.registry.tags(damaged)[CODE] == "replicas"
    world.serve.fails.clear()
    world.restart()
    world.settle()
    assert world.serve.deployed == [good, damaged, good]


@pytest.mark.parametrize("step", [1, 2])
def test_killed_at_any_step_of_a_roll_the_next_one_finishes_it(world: World, step: int) -> None:
    first, second = world.add(1), world.add(2)
    world.registry.promote(first)
    world.settle()
    world.registry.promote(second)
    for _ in range(step):
        world.reconciler.reconcile_once()
    world.restart()
    world.settle()
    assert (world.state(first), world.state(second)) == ("superseded", "serving")


def test_a_version_is_confirmed_only_when_the_service_answers_with_it_alone(world: World) -> None:
    version = world.add(1)
    world.registry.promote(version)
    answering = {"0", version}
    world.reconciler = Reconciler(
        versions=world.reconciler.versions,
        control=world.serve,
        tracking_uri=world.registry.uri,
        cache=world.folder / "cache",
        keys=KEYS,
        golden_tolerance=1e-4,
        answering=lambda: answering,
    )
    assert [world.reconciler.reconcile_once().kind for _ in range(3)] == ["deploy", "wait", "wait"]
    assert world.state(version) == "rolling"
    answering.discard("0")
    assert world.reconciler.reconcile_once().kind == "confirm"
    assert world.state(version) == "serving"


def test_a_service_that_starts_without_the_registry_serves_the_version_of_last_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def started_alone() -> list[str | None]:
        world.serve = ServeStandIn()
        world.restart()
        away = MlflowVersions(model_name=world.registry.name, alias="champion", tracking_uri="http://127.0.0.1:9")
        alone = replace(world.reconciler, versions=away)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                alone.reconcile_once()
        return world.serve.deployed

    assert started_alone() == [None]
    version = world.add(1)
    world.registry.promote(version)
    world.settle()
    assert started_alone() == [version]
    (world.folder / "served.json").write_text("{}")
    assert started_alone() == [None]


def test_artifacts_that_cannot_be_read_now_are_not_a_refusal(world: World) -> None:
    version = world.add(1)
    world.registry.promote(version)
    store = world.folder / "registry"
    store.rename(world.folder / "away")
    with pytest.raises(UnavailableError):
        world.reconciler.reconcile_once()
    assert world.state(version) is None
    (world.folder / "away").rename(store)
    world.reconciler.reconcile_once()
    assert world.serve.deployed == [version]


def test_the_loop_reports_an_error_once_and_goes_on(world: World) -> None:
    failures = iter([UnavailableError("Serve is away"), UnavailableError("Serve is away"), ValueError("odd")])
    working = world.serve.actual

    def flaky() -> ServedApplication:
        for error in failures:
            raise error
        return working()

    world.serve.actual = flaky  # type: ignore[method-assign]
    errors: list[str] = []
    done = threading.Event()
    loop = Loop(
        reconciler=world.reconciler,
        poll_s=0.01,
        on_action=lambda action: done.set() if action.kind == "keep" else None,
        on_error=errors.append,
    )
    worker = threading.Thread(target=loop.run)
    worker.start()
    assert done.wait(60)
    loop.halt()
    worker.join(30)
    assert not worker.is_alive()
    assert errors == ["Serve is away", "a rollout step failed: ValueError: odd"]
    assert world.serve.deployed == [None]


def on_trial(world: World, **settings: Any) -> None:
    """The reconciler with these settings of a trial."""
    versions = replace(world.reconciler.versions, challenger_alias="challenger")  # type: ignore[type-var]
    world.reconciler = replace(world.reconciler, versions=versions, rollout=Rollout(**settings))


def trial(world: World) -> Trial | None:
    assert world.serve.state.applied is not None
    return world.serve.state.applied.trial


def test_a_challenger_is_tried_returned_and_tried_again_beside_a_new_champion(world: World) -> None:
    champion, challenger = world.add(1), world.add(2)
    client, name = world.registry.client, world.registry.name
    world.registry.promote(champion)
    client.set_registered_model_alias(name, "challenger", challenger)
    on_trial(world, shadow=True, canary_share=0.2, canary_min_compared=5)
    world.settle()
    tried = trial(world)
    assert tried is not None
    assert (tried.challenger.version, tried.share) == (challenger, 0.2)
    assert world.registry.tags(challenger)[TRIAL] == "canary"
    assert world.state(champion) == "serving"

    trial_id = world.serve.state.applied.trial_id  # type: ignore[union-attr]
    world.serve.counted[str(trial_id)] = TrialCounts(trial=str(trial_id), answered=4, agreed=1, differed=19)
    world.settle()
    tags = world.registry.tags(challenger)
    assert (tags[TRIAL], tags["rollout.trial.share"], tags["rollout.trial.agreement"]) == ("returned", "0", "0.050")
    assert tags["rollout.trial.reason"].startswith("disagreement: a different emotion on 19 of 20 clips")
    assert trial(world).share == 0.0  # type: ignore[union-attr]
    before = list(world.serve.deployed)
    on_trial(world, canary_share=0.5)  # no shadow: after the return nothing is left of the trial
    world.settle()
    world.restart()
    on_trial(world, canary_share=0.5)
    world.settle()
    assert (trial(world), world.serve.deployed) == (None, [*before, champion])

    other = world.add(3)
    world.registry.promote(other)
    world.settle()
    assert trial(world).share == 0.5  # type: ignore[union-attr]
    client.delete_registered_model_alias(name, "challenger")
    world.settle()
    assert trial(world) is None


@pytest.mark.parametrize("flaw", [{"gates": "false"}, {"broken": True}])
def test_a_challenger_that_may_not_be_served_is_not_tried_either(world: World, flaw: dict[str, Any]) -> None:
    champion, challenger = world.add(1), world.add(2, **flaw)
    world.registry.promote(champion)
    world.registry.client.set_registered_model_alias(world.registry.name, "challenger", challenger)
    on_trial(world, shadow=True)
    world.settle()
    world.settle()
    assert trial(world) is None
    assert world.serve.deployed == [champion]
    tags = world.registry.tags(challenger)
    assert (tags[TRIAL], tags.get(STATE)) == ("refused", None)
    assert tags["rollout.trial.reason"]
