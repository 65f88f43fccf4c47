from __future__ import annotations

from pathlib import Path

from components.contracts.config import Params, Tracking
from components.contracts.layout import Layout
from components.tuning.journal import Journal, Outcome, ranked, trial_name
from components.tuning.space import Space

# Nothing listens there: what is noted does not need MLflow.
AWAY = Tracking(uri="http://127.0.0.1:9")


def opened(folder: Path) -> Journal:
    return Journal(folder / "search", tracking=AWAY, root=folder, name="search")


def test_what_was_noted_is_known_to_the_next_search(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    values = {"model.width": 32}
    journal.begun(values)
    for epochs, score in ((1, 0.25), (2, 0.5)):
        journal.scored(values, epochs, score)
    again = opened(tmp_path)
    again.begun(values)  # a trial that goes on tells its scores again
    again.scored(values, 1, 0.25)
    again.scored(values, 3, 0.75)
    assert again.outcomes == {trial_name(values): Outcome(values=values, scores=(0.25, 0.5, 0.75))}
    assert opened(tmp_path).outcomes == again.outcomes


def test_equal_values_are_one_trial() -> None:
    assert trial_name({"a": 1, "b": 2.0}) == trial_name({"b": 2.0, "a": 1})
    assert trial_name({"a": 1}) != trial_name({"a": 2})


def test_only_whole_trainings_are_compared() -> None:
    def outcome(width: int, *scores: float, ended: bool = True, error: str | None = None) -> Outcome:
        return Outcome(values={"model.width": width}, scores=scores, ended=ended, error=error)

    outcomes = [
        outcome(1, 0.1, 0.9),  # stopped early, ahead of all
        outcome(2, 0.1, 0.2, 0.3),
        outcome(3, 0.1, 0.2, 0.4),
        outcome(4, 0.5),
        outcome(5, 0.9, ended=False),
        outcome(6, 0.9, error="diverged"),
        outcome(7),
    ]
    order = ranked({entry.name: entry for entry in outcomes}, epochs=3)
    assert [entry.values["model.width"] for entry in order] == [3, 2, 1, 4]


def test_trials_outside_of_the_ranges_do_not_count(tmp_path: Path) -> None:
    def journal_of(*widths: int) -> Journal:
        space = Space.of(Params.model_validate({"tune": {"ranges": {"model.width": list(widths)}}}))
        return Journal.of(space, Layout(tmp_path), {"sha256": "c", "classes": [], "encoders": {}})

    journal = journal_of(32, 64)
    for width in (32, 64):
        journal.begun({"model.width": width})
    assert len(journal_of(32, 64, 128).outcomes) == 2
    assert [outcome.values for outcome in journal_of(64, 128).outcomes.values()] == [{"model.width": 64}]
