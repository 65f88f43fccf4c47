"""What decides the model and differs from what the last outputs were made with: DVC's differences, named by cause.

DVC says which file or key differs. What about it differs is read from both states: that of now, and that of the last
outputs, which `dvc.lock` holds (parameters) or names by hash (`data/inputs`, whose files are in DVC's cache). Where the
cache lacks it, the evidence is the bare fact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.dag import Difference
from pipelines.retraining.decide import Cause, Evidence

INPUTS = "data/inputs/"
SETTINGS = f"{INPUTS}params.yaml"
VERSIONS = "components/contracts/versions.py"
MISSING = frozenset({"deleted", "not in cache"})  # of an output: it can be fetched, which is no reason to train
MAX_KEYS = 4

Lock = Mapping[str, Any]
# A file of the last outputs by its MD5, or of now by its path; None where it is not there.
Before = Callable[[str], Any]
Now = Callable[[str], Any]


def name_changes(
    differences: Sequence[Difference], lock: Lock, *, before: Before, now: Now, outputs: Sequence[str]
) -> tuple[Evidence, ...]:
    """The causes, each once.

    Args:
        differences: between the project and its lock.
        lock: `stages` of `dvc.lock`; empty where nothing was ever trained.
        before: reads a JSON file of the last outputs by its MD5.
        now: reads a JSON or YAML file of the project by its path.
        outputs: paths of the stages' outputs.
    """
    if not lock:
        return (Evidence(cause=Cause.FIRST, what="nothing was trained here before (no dvc.lock)"),)
    read = _Reader(lock=lock, before=before, now=now, outputs=tuple(outputs))
    causes = (evidence for difference in differences for evidence in read.causes(difference))
    return tuple(dict.fromkeys(causes))


class _Reader:
    def __init__(self, *, lock: Lock, before: Before, now: Now, outputs: tuple[str, ...]) -> None:
        self._lock, self._before, self._now, self._outputs = lock, before, now, outputs

    def causes(self, difference: Difference) -> Iterator[Evidence]:
        """The causes behind one difference; none where only something is missing that can be fetched."""
        stage, _, item = difference.address.partition("@")
        if difference.address not in self._lock:
            if item:
                yield Evidence(cause=Cause.DATA, what=f"dataset {item} is new")
            else:
                yield Evidence(cause=Cause.UNFINISHED, what=f"{stage} has not run")
        elif not difference.path:
            yield Evidence(cause=Cause.CODE, what=f"{difference.address}: {difference.state}")
        elif difference.state not in MISSING:
            yield from self._by_path(difference)

    def _by_path(self, difference: Difference) -> Iterator[Evidence]:
        path, key = difference.path, difference.key
        if difference.is_output:
            yield Evidence(cause=Cause.UNFINISHED, what=f"{path} is not what its stage wrote")
        elif path == VERSIONS:
            numbers = f"{self._parameter(difference)} → {_constant(self._now(path), key)}"
            yield Evidence(cause=Cause.CODE, what=f"the version of {difference.address}, {key} {numbers}")
        elif path == SETTINGS and key is not None:
            yield from self._settings(difference, key)
        elif path.startswith(INPUTS):
            yield from self._inputs(difference)
        elif any(path == out or out.startswith(f"{path}/") or path.startswith(f"{out}/") for out in self._outputs):
            yield Evidence(cause=Cause.UNFINISHED, what=f"{difference.address} has not run on the present {path}")
        else:
            yield Evidence(cause=Cause.CODE, what=f"{path} {difference.state}")

    def _parameter(self, difference: Difference) -> Any:
        return self._lock[difference.address].get("params", {}).get(difference.path, {}).get(difference.key)

    def _settings(self, difference: Difference, key: str) -> Iterator[Evidence]:
        old, new = self._parameter(difference), _at(self._now(SETTINGS), key)
        changed = list(_changed(key, old, new))
        more = f" and {len(changed) - MAX_KEYS} more" if len(changed) > MAX_KEYS else ""
        yield Evidence(cause=Cause.PARAMETERS, what=f"{', '.join(changed[:MAX_KEYS]) or key}{more}")

    def _inputs(self, difference: Difference) -> Iterator[Evidence]:
        path = difference.path
        parts = path.removeprefix(INPUTS).split("/")
        if parts[0] in OTHER_INPUTS:
            cause, what = OTHER_INPUTS[parts[0]]
            yield Evidence(cause=cause, what=what.format(name=parts[1].removesuffix(".json") if parts[1:] else ""))
            return
        name = path.removeprefix(INPUTS).removesuffix(".json")
        md5 = next((dep["md5"] for dep in self._lock[difference.address].get("deps", []) if dep["path"] == path), "")
        old, new = self._before(md5), self._now(path)
        if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
            yield Evidence(cause=Cause.DATA, what=f"{name}: changed")
            return
        yield from _dataset(name, old, new)


# Part of a corpus's folder → cause, and what it counts.
PARTS = (("recordings", Cause.DATA, "recordings"), ("texts", Cause.LABELS, "files of labels and words"))
# Other folders of `data/inputs` → cause, and words about a dataset or the version.
OTHER_INPUTS: Mapping[str, tuple[Cause, str]] = {
    "decisions": (Cause.DATA, "{name}: decisions about clips in quarantine"),
    "baselines": (Cause.DATA, "{name}: a baseline was accepted"),
    "start": (Cause.PARAMETERS, "the version that training starts from"),
    "compared": (Cause.PARAMETERS, "the version that the evaluation compares with"),
}


def _dataset(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Evidence]:
    """What differs between two states of `data/inputs/<dataset>.json`."""
    for place in sorted({*old["files"], *new["files"]}):
        yield from _place(name, *(_in_parts(side["files"].get(place)) for side in (old, new)))
    people = len(new["withdrawn"]) - len(old["withdrawn"])
    if new["withdrawn"] != old["withdrawn"]:
        words = f"{people} more have withdrawn" if people > 0 else "the list of withdrawals changed"
        yield Evidence(cause=Cause.WITHDRAWAL, what=f"{name}: {words}")
    options = {key: (old.get(key), new.get(key)) for key in ("options", "adapter") if old.get(key) != new.get(key)}
    for key, (earlier, later) in options.items():
        prefix = name if key == "options" else f"{name}.{key}"
        for words in _changed(prefix, earlier, later):
            yield Evidence(cause=Cause.PARAMETERS, what=words)


def _in_parts(files: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A corpus's folder by parts; one without files of text is recordings alone."""
    if files is None or "recordings" in files:
        return files or {}
    return {"recordings": {"count": files["count"], "fingerprint": files["fingerprint"]}}


def _place(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Evidence]:
    """What differs between two states of a corpus's folder: recordings, and files that hold labels and words."""
    for part, cause, noun in PARTS:
        before, after = old.get(part), new.get(part)
        if before is None and after is None:
            continue
        counts = [0 if side is None else int(side["count"]) for side in (before, after)]
        if before != after:
            which = "" if counts[0] != counts[1] else ", other contents"
            yield Evidence(cause=cause, what=f"{name}: {counts[0]} → {counts[1]} {noun}{which}")


def _changed(key: str, old: Any, new: Any) -> Iterator[str]:
    """The leaves that differ, as words."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            yield from _changed(f"{key}.{name}", old.get(name), new.get(name))
    elif old != new:
        yield f"{key} {old!r} → {new!r}"


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _constant(text: Any, name: str | None) -> str:
    """The value of a constant in the text of a module."""
    lines = str(text).splitlines()
    return next((line.partition("=")[2].split("#")[0].strip() for line in lines if line.startswith(f"{name} = ")), "?")


def reader_of_cache(cache: Path | None) -> Before:
    """Reads JSON files by their MD5 from a folder of DVC's cache."""
    from components.contracts.atomic import read_json

    def before(md5: str) -> Any:
        path = None if cache is None or not md5 else cache / md5[:2] / md5[2:]
        return read_json(path) if path is not None and path.is_file() else None

    return before
