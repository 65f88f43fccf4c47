"""`mer quarantine readmit`: records a person's decision about clips in quarantine in `readmitted.csv`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from components.contracts.codes import current
from components.contracts.errors import ConfigError, DataError, nearest
from components.contracts.layout import Layout
from components.contracts.readmitted import Readmitted, read_readmitted, write_readmitted
from components.contracts.records import Quarantined
from components.validation.quarantine import STAGE as VALIDATION
from pipelines.commands.quarantine.listing import may_be_taken, quarantine
from pipelines.project import find_root

Key = tuple[str, str, str, str]


def readmit(
    clip_ids: Collection[str] = (),
    *,
    code: str | None = None,
    everything: bool = False,
    reason: str | None = None,
    root: Path | None = None,
) -> str:
    """Records a decision about clips in quarantine; the next run applies it.

    Without a reason each clip is tried once more by the stage that set it aside. With a reason it is taken as it is,
    which is possible only for expectations that a person may waive (`waivable`).

    Args:
        clip_ids: these clips. code: every clip with this code. everything: all clips. Exactly one of the three.
        reason: why the clips are taken as they are.

    Returns:
        The recorded decisions as text.

    Raises:
        ConfigError: not exactly one choice of clips. DataError: a clip is not in quarantine, or none of the chosen
            clips can be readmitted this way.
    """
    layout = Layout(root or find_root())
    rows = _chosen(quarantine(layout), clip_ids, code=code, everything=everything)
    if reason is not None and not reason.strip():
        raise ConfigError("the reason is empty", where="--reason", remedy="Describe why the clips can be used")
    fit = [row for row in rows if (may_be_taken(row) if reason is not None else row.stage != VALIDATION)]
    unfit = [row for row in rows if row not in fit]
    if not fit:
        raise _refusal(unfit[0], reason)
    decisions = {_key(row): row for row in read_readmitted(layout.readmitted)}
    for row in fit:
        decision = _decision(row, reason, decisions.get(_key(row)))
        decisions[_key(decision)] = decision
    write_readmitted(layout.readmitted, decisions.values())
    what = "tried again" if reason is None else "taken as they are"
    lines = [f"{row.clip_id}  [{row.stage}: {row.code}]" for row in fit]
    lines += [f"left in quarantine: {_refusal(row, reason)}" for row in unfit]
    lines.append(f"{len(fit)} to be {what} by the next `mer run`; commit {layout.readmitted.name}")
    return "\n".join(lines)


def _chosen(
    rows: Sequence[Quarantined], clip_ids: Collection[str], *, code: str | None, everything: bool
) -> list[Quarantined]:
    ways = [bool(clip_ids), code is not None, everything]
    if sum(ways) != 1:
        raise ConfigError(
            "clips must be chosen in exactly one way",
            seen=f"{sum(ways)} ways",
            allowed="clip ids, or --code CODE, or --all",
            where="readmit",
        )
    missing = sorted(set(clip_ids) - {row.clip_id for row in rows})
    if missing:
        raise DataError(
            "this clip is not in quarantine",
            where=missing[0],
            remedy=nearest(missing[0], {row.clip_id for row in rows}) or "`mer quarantine list` shows all that are",
        )
    chosen_code = None if code is None else current(code)
    chosen = [row for row in rows if everything or row.clip_id in clip_ids or row.code == chosen_code]
    if not chosen:
        codes = sorted({row.code for row in rows})
        raise DataError(
            "nothing is in quarantine" if code is None else "nothing is in quarantine for this reason",
            seen=code,
            allowed=", ".join(codes) or None,
            remedy=nearest(code or "", codes),
        )
    return chosen


def _refusal(row: Quarantined, reason: str | None) -> DataError:
    """Why this row cannot be readmitted this way."""
    if reason is not None:
        what, remedy = "this clip cannot be accepted as it is", row.remedy
    elif may_be_taken(row):
        what, remedy = (
            "a second try would have the same result",
            'Give a reason to accept it: --reason "…"; or repair it',
        )
    else:
        what, remedy = "a second try would have the same result", row.remedy
    return DataError(what, where=f"{row.clip_id} [{row.stage}: {row.code}]", seen=row.seen, remedy=remedy)


def _decision(row: Quarantined, reason: str | None, before: Readmitted | None) -> Readmitted:
    if before is not None and before.how == "again" and reason is None:
        return replace(before, tries=before.tries + 1)
    plain = Readmitted(dataset=row.dataset, clip_id=row.clip_id, stage=row.stage, code=row.code, how="again")
    if reason is None:
        return plain
    return replace(plain, how="as_is", seen=(row.seen or "").strip(), reason=" ".join(reason.split()))


def _key(row: Readmitted | Quarantined) -> Key:
    return row.dataset, row.clip_id, row.stage, current(row.code)
