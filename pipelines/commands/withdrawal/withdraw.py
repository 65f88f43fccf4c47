"""`mer withdraw`: a person withdraws their consent.

The withdrawal is first recorded (`withdrawn.json`, which the `datasets` stage reads), then the person is removed from
all files of the project, then every model version made with them is marked. After an interruption the same command
resumes: the trace of the person is in `.mer/withdraw-….json` until all is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from components.contracts.atomic import read_json, write_json
from components.contracts.codes import Code
from components.contracts.config import Params
from components.contracts.errors import DataError, UnavailableError
from components.contracts.layout import Layout
from components.datasets.names import person_of
from components.datasets.withdrawn import FILE, record, withdrawal_of
from components.registry.marking import AffectedVersion, VersionSearch, mark, search
from components.rollout.versions import STATE
from components.tracking.address import database, exists, tracking_uri
from components.tracking.client import without_progress_bars
from pipelines import dag
from pipelines.commands.withdrawal.forget import Forgetting, Removal, journal
from pipelines.commands.withdrawal.trace import (
    CorpusOnDisk,
    Trace,
    datasets_of,
    find,
    joint_names,
    media_file,
    read_corpus,
    subjects_of,
    tables_of,
    unknown,
)
from pipelines.project import find_root, load
from pipelines.run import only_run

SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """The changes that were made, or would be: `since` is the day of an earlier withdrawal of the same person, `cache`
    DVC's, `left` describes what this command does not remove."""

    trace: Trace
    cache: Path | None
    since: str | None
    changes: Sequence[Removal]
    versions: VersionSearch
    left: Sequence[str]


def run(
    subject: str,
    *,
    dataset: str | None = None,
    dry_run: bool = False,
    root: Path | None = None,
    done: Callable[[Removal], None] = lambda change: None,
) -> Withdrawn:
    """Withdraws a person; running it again finishes an interrupted withdrawal and changes nothing else.

    Args:
        subject: a subject id as in the clip tables, `<dataset>/<person>`; with `dataset` the person alone suffices.
        dataset: the dataset of the person; None: all are searched.
        dry_run: report the changes without making them.
        root: the project; found from the current folder when left out.
        done: called after each change of the project's files.

    Raises:
        DataError: no person has this id, or it covers several people.
        UnavailableError: another run is active in this project; or MLflow cannot be reached, when all but the marking
            is done.
    """
    layout = Layout(root or find_root())
    with only_run(layout):
        params = load(layout.root)
        cache, remotes = dag.storage(layout.root)
        trace, corpus = _resolve(subject, dataset, layout, params, cache)
        forgetting = Forgetting(trace, layout, cache=cache, mlflow=_of_mlflow(params, layout))
        left = tuple(_left(trace, corpus, forgetting, layout, remotes))
        before = withdrawal_of(layout.root, trace.dataset, trace.subject_id)
        since = None if before is None else before.at
        if dry_run:
            changes = list(forgetting.changes())
            versions = _versions(trace, params, layout)
            return Withdrawn(trace=trace, cache=cache, since=since, changes=changes, versions=versions, left=left)
        day = datetime.now(UTC).date()
        record(layout.root, trace.dataset, trace.subject_id, day=day)
        write_json(journal(layout, trace), trace.to_json())
        changes = forgetting.run(done)
        versions = _marked(trace, params, layout, day)
        journal(layout, trace).unlink()
    return Withdrawn(trace=trace, cache=cache, since=since, changes=changes, versions=versions, left=left)


def command(subject: str, *, dataset: str | None = None, dry_run: bool = False) -> str:
    """`run` in the project of the current folder; returns the outcome as text."""
    without_progress_bars()
    root = find_root()
    return text(run(subject, dataset=dataset, dry_run=dry_run, root=root), root, dry_run=dry_run)


def text(outcome: Withdrawn, root: Path, *, dry_run: bool) -> str:
    """The outcome as text."""
    trace, since = outcome.trace, outcome.since
    lines = [f"{trace.subject_id}: {len(trace.clip_ids)} clips" + (f", withdrawn on {since} already" if since else "")]
    copies, changes = _parted(outcome)
    lines += [f"  {len(copies)} copies of outputs in DVC's cache: removed"] if copies else []
    lines += [f"  {_below(change.path, root)}: {change.what}" for change in changes]
    lines += [] if outcome.changes else ["  nothing in the project's files names them"]
    lines += [_version_line(version, dry_run=dry_run) for version in outcome.versions.affected]
    lines += [] if outcome.versions.affected else ["No model version is known to be made with them"]
    if outcome.versions.unlisted:
        lines.append(f"Unknown for {_some(outcome.versions.unlisted)}: no list of the people in their data")
    lines += [f"Left: {remaining}" for remaining in outcome.left]
    lines.append("Dry run: nothing was done" if dry_run else f"Next: commit {FILE}; `mer run` trains without them")
    return "\n".join(lines)


def _resolve(
    subject: str, dataset: str | None, layout: Layout, params: Params, cache: Path | None
) -> tuple[Trace, CorpusOnDisk]:
    """The person with a subject id. An id that is in no table and no corpus (any more) may be in an unfinished or
    earlier withdrawal, or in a version made with a dataset that was removed since."""
    prefix = dataset or subject.partition("/")[0]
    everywhere = datasets_of(layout, params)
    scope = (prefix,) if dataset or prefix in everywhere else everywhere
    names = [subject, f"{dataset}/{subject}"] if dataset else [subject]
    names = list(dict.fromkeys([*map(person_of, names), *names]))
    corpora = {name: read_corpus(name, params, layout) for name in scope}
    tables = {name: tables_of(layout, name, cache) for name in scope}
    dataset_of = {person: name for name in scope for person in subjects_of(name, tables[name], corpora[name])}
    for name in names:
        for corpus in corpora.values():
            _refuse_joint(name, corpus)
        if name in dataset_of:
            corpus = corpora[dataset_of[name]]
            return _unfinished(find(dataset_of[name], name, tables[dataset_of[name]], corpus), layout), corpus
    for name in names:
        if not name.startswith(f"{prefix}/"):
            continue
        trace = _unfinished(Trace(dataset=prefix, subject_id=name), layout)
        if trace.clip_ids or withdrawal_of(layout.root, prefix, name) or _versions(trace, params, layout).affected:
            return trace, corpora.get(prefix, CorpusOnDisk())
    if dataset and dataset not in everywhere:
        raise DataError.unknown("dataset", dataset, everywhere, where="mer withdraw")
    raise unknown(subject, dataset_of, scope, [corpus.trouble for corpus in corpora.values() if corpus.trouble])


def _refuse_joint(name: str, corpus: CorpusOnDisk) -> None:
    people = joint_names(corpus).get(name)
    if people:
        raise DataError(
            "this id covers several people",
            where="mer withdraw",
            seen=name,
            allowed=", ".join(people),
            remedy="Withdraw the ones who withdrew, one by one; clips that they share with others are removed too",
            code=Code.JOINT_SUBJECT,
        )


def _unfinished(trace: Trace, layout: Layout) -> Trace:
    """The trace, joined with that of an interrupted withdrawal of the same person."""
    path = journal(layout, trace)
    return trace.joined(Trace.from_json(read_json(path))) if path.is_file() else trace


def _of_mlflow(params: Params, layout: Layout) -> tuple[Path, ...]:
    """The files and folders of MLflow that may lie below the project."""
    artifacts, file = layout.root / params.tracking.artifacts, database(tracking_uri(params.tracking, layout.root))
    return (artifacts,) if file is None else (artifacts, file)


def _versions(trace: Trace, params: Params, layout: Layout) -> VersionSearch:
    uri = tracking_uri(params.tracking, layout.root)
    if not exists(uri):
        return VersionSearch(affected=(), unlisted=())
    return search(trace.subject_ids, tracking_uri=uri)


def _marked(trace: Trace, params: Params, layout: Layout, day: date) -> VersionSearch:
    try:
        versions = _versions(trace, params, layout)
        for version in versions.affected:
            mark(version, day=day, tracking_uri=tracking_uri(params.tracking, layout.root))
    except UnavailableError as error:
        raise UnavailableError(
            "the person was removed from the project's files, but the versions made with them are not marked: "
            + error.what,
            where=error.where,
            seen=error.seen,
            remedy="Run the same command again when MLflow can be reached",
        ) from error
    return versions


def _left(
    trace: Trace, corpus: CorpusOnDisk, forgetting: Forgetting, layout: Layout, remotes: Sequence[str]
) -> Iterator[str]:
    files = [media_file(layout, path) for path in sorted(trace.media)]
    files = [path for path in files if path.exists() and not path.is_relative_to(layout.root / "data")]
    files = [path for path in files if not path.is_relative_to(layout.state)]
    if files:
        examples = _some([str(path) for path in files])
        yield f"the corpus itself, {len(files)} recordings ({examples}); they are no longer read"
    if corpus.trouble:
        yield f"clips that are in no table: the corpus could not be read ({corpus.trouble})"
    if evidence := forgetting.in_mlflow():
        examples = _some([_below(path, layout.root) for path in evidence])
        yield f"evidence in MLflow, {len(evidence)} files ({examples}); delete those runs there to remove it"
    if remotes:
        yield f"copies of earlier outputs in DVC's remotes: {', '.join(remotes)}"


def _version_line(version: AffectedVersion, *, dry_run: bool) -> str:
    used = ", ".join(sorted({split for splits in version.people.values() for split in splits}))
    mark_now = "would be marked" if dry_run else "marked"
    state = "is marked" if version.marked else mark_now
    line = f"{version.name} version {version.version} was made with them ({used}): {state}"
    if version.tags.get(STATE) in ("serving", "rolling"):
        line += "; it IS SERVING NOW and stays in service until a different version is promoted"
    return line


def _parted(outcome: Withdrawn) -> tuple[list[Removal], list[Removal]]:
    """The changes in DVC's cache, where file names have no meaning, and the others."""
    inside = [outcome.cache is not None and change.path.is_relative_to(outcome.cache) for change in outcome.changes]
    pairs = list(zip(outcome.changes, inside, strict=True))
    return [change for change, is_copy in pairs if is_copy], [change for change, is_copy in pairs if not is_copy]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
