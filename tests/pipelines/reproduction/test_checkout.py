from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from components.contracts.errors import BundleError, ConfigError, UnavailableError
from components.tracking.origin import Origin
from components.tracking.versions import VersionInfo
from pipelines.cli import call
from pipelines.loop.clone import Clone
from pipelines.reproduction import checkout, run
from pipelines.reproduction.checkout import check, check_out, discard, remove_unfinished
from pipelines.reproduction.run import _check_assignments
from tests.pipelines.loop.test_run import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose project lies in a folder below it, with two commits."""
    project = tmp_path / "repository" / "project"
    (project / "components").mkdir(parents=True)
    git(tmp_path, "init", "--quiet", "--template=", "repository")
    for number in (1, 2):
        (project / "components" / "code.py").write_text(f"number = {number}\n")
        (project / "params.yaml").write_text("seed: 1\n")
        git(project, "add", "--all")
        git(project, "commit", "--quiet", "--message", str(number))
    return project


def origin_of(project: Path, revision: str = "HEAD") -> Origin:
    return replace(Origin.of_project(project, data_sha256="d"), commit=git(project, "rev-parse", revision))


def test_the_checkout_has_the_code_of_the_commit_and_the_settings_of_the_training(repository: Path) -> None:
    """Settings that were never committed are those of the record; the working tree stays as it is."""
    (repository / "params.yaml").write_text("seed: 2\n")
    (repository / "dvc.lock").write_text("schema: '2.0'\n")
    origin = origin_of(repository, "HEAD~1")
    assert origin.changed == ("params.yaml",)
    check(origin, repository, where="mer version 3")
    folder = repository.parents[1] / "checkout"
    for _ in range(2):  # one that is there is kept
        project = check_out(origin, repository, folder)
        assert project == folder / "project"
        assert (project / "components" / "code.py").read_text() == "number = 1\n"
        assert (project / "params.yaml").read_text() == "seed: 2\n"
        assert (project / "dvc.lock").read_text() == "schema: '2.0'\n"
        (project / "half-trained").write_text("")
    assert (repository / "components" / "code.py").read_text() == "number = 2\n"
    assert git(repository, "status", "--porcelain", "--untracked-files=no") == "M project/params.yaml"


def test_a_checkout_is_whole_or_not_there(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = repository.parents[1] / "checkouts" / "abc"
    real = Clone.fetch

    def interrupted(clone: Clone) -> None:
        real(clone)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Clone, "fetch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            check_out(origin_of(repository), repository, folder)
    assert list(folder.parent.iterdir()) == []
    check_out(origin_of(repository), repository, folder)
    with monkeypatch.context() as patch:
        patch.setattr(checkout.shutil, "rmtree", died)
        with pytest.raises(KeyboardInterrupt):
            discard(folder)
    assert not folder.exists()
    (folder.parent / ".def.0123.tmp").mkdir()  # of a process that was killed
    remove_unfinished(folder.parent)
    assert list(folder.parent.iterdir()) == []


def died(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupt_names_the_checkout_that_the_next_call_goes_on_from(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], begun: bool
) -> None:
    """The command itself, with a record of a small repository in place of one in a registry."""
    from components.contracts.config import Params

    monkeypatch.chdir(repository)
    origin = origin_of(repository)
    info = VersionInfo(name="mer", version="3", tags={}, source="")
    recorded = run.Recorded(info=info, origin=origin, bundle=repository / "abcdef0123456789ff")
    monkeypatch.setattr(run, "load", lambda _: Params())
    monkeypatch.setattr(run, "find_root", lambda: repository)
    monkeypatch.setattr(run, "find_recorded", lambda *_: recorded)
    monkeypatch.setattr(run, "bring_data" if begun else "check_out", killed_by_the_key)
    assert call(["reproduce", "3"]) == 130
    said = capsys.readouterr().err
    checkouts = repository / ".mer" / "reproduce"
    assert [path.name for path in checkouts.iterdir()] == (["abcdef0123456789"] if begun else [])
    assert (f"The checkout is in {checkouts / 'abcdef0123456789'}: `mer reproduce 3` goes on" in said) == begun
    assert git(repository, "worktree", "list").count("\n") == 0


def killed_by_the_key(*_: object) -> None:
    """Ctrl-C, as in a process of its own: what ran in this one before may have left a handler of its own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    finally:
        signal.signal(signal.SIGINT, before)


def test_code_that_no_commit_has_is_refused_by_name(repository: Path) -> None:
    (repository / "components" / "code.py").write_text("number = 3\n")
    origin = origin_of(repository)
    assert Origin.from_json(origin.to_json()) == origin
    with pytest.raises(BundleError, match=r"mer version 3: .*no commit has.*components/code\.py"):
        check(origin, repository, where="mer version 3")


@pytest.mark.parametrize("commit", ["0" * 40, "unknown"])
def test_a_commit_that_is_not_in_the_repository_is_named(repository: Path, commit: str) -> None:
    with pytest.raises(UnavailableError, match=rf"does not have the commit.*{commit}.*git fetch"):
        check(replace(origin_of(repository), commit=commit), repository, where="mer version 3")


def test_a_project_outside_of_git_is_named(tmp_path: Path) -> None:
    origin = Origin.of_project(tmp_path, data_sha256="d")
    assert (origin.commit, origin.changed, origin.params) == ("unknown", (), "")
    with pytest.raises(ConfigError, match="not in a Git repository"):
        check_out(origin, tmp_path, tmp_path / "checkout")


def test_what_is_reproduced_cannot_be_set() -> None:
    _check_assignments(["runtime.workers=0", "ray.address=auto"])
    with pytest.raises(ConfigError, match=r"train\.epochs=3.*runtime"):
        _check_assignments(["runtime.workers=0", "train.epochs=3"])
