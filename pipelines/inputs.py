"""Stage `inputs`: the project's external inputs, as files that the other stages depend on.

It writes `data/inputs/params.yaml`, the values of the configuration that decide the output of a stage, with every
default filled in, and `data/inputs/<dataset>.json`, the dataset's own options, a fingerprint of the files they point
to, and the withdrawals from it; and the earlier versions that training starts from and the evaluation compares with.
The stage always runs (it takes a second) and writes the same bytes for the same inputs, so that nothing after it runs
again without a reason. Four things follow:

* a section or a key may be left out of `params.yaml`, and a changed default still counts as a change;
* a recording that is added to, changed in or removed from a corpus outside the project is detected, and told from a
  change of the files that hold its labels;
* an edited comment in `params.yaml` does not count as a change;
* neither does a setting that decides no output (how many workers, which Ray), so a laptop and a cluster, each with
  settings of its own, write the same `dvc.lock`.

Files are compared by relative name and content, so copies of one corpus are one input on every machine. A file whose
path, size and modification time are those of an earlier run is not read again (`.mer/hashes/`): reading every byte of
a large corpus to find that nothing changed would cost minutes. Of an object store, sizes and times are listed and
nothing is downloaded; an object that was only written anew makes the `datasets` stage run, which hashes contents, so
that nothing after it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components.contracts.atomic import atomic_dir, read_json, write_json
from components.contracts.config import Params
from components.contracts.fingerprint import fingerprint
from components.contracts.layout import Layout
from components.contracts.readmitted import decisions_json, read_readmitted
from pipelines.stage import Summary
from pipelines.stages import STAGES

if TYPE_CHECKING:
    from components.datasets.content import HashCache


# Files that hold labels and words: listed apart too, so that it shows whether recordings or labels changed.
TEXTS = frozenset({".csv", ".tsv", ".json", ".jsonl", ".txt", ".xml", ".xlsx", ".eaf", ".textgrid", ".srt", ".vtt"})


def folder(layout: Layout) -> Path:
    """Where the stage writes."""
    return layout.inputs


def write(params: Params, layout: Layout) -> Summary:
    """Writes the resolved configuration and one file per dataset; returns the number of files per corpus."""
    from components.datasets.content import HashCache, inputs_cache
    from components.datasets.registry import adapter
    from components.datasets.withdrawn import read_withdrawn

    counts: dict[str, Any] = {}
    with atomic_dir(folder(layout)) as beside:
        text = yaml.safe_dump(_deciding(params), sort_keys=True, allow_unicode=True)
        (beside / "params.yaml").write_text(text, encoding="utf-8")
        for name in params.datasets:
            section = params.sources.get(name, {})
            corpus = adapter(name, section)
            options = corpus.options(section)
            cache = HashCache(inputs_cache(layout, name))
            files = {str(path): _files(path, layout.root, cache, name) for path in corpus.places(options)}
            cache.save()
            taken: dict[str, Any] = {
                "dataset": name,
                "options": options.model_dump(mode="json"),
                "files": files,
                "withdrawn": [[entry.salt, entry.sha256] for entry in read_withdrawn(layout.root, name)],
            }
            if corpus.kind != name:
                taken["adapter"] = corpus.kind
            write_json(beside / f"{name}.json", taken)
            counts[f"files of {name}"] = sum(place["count"] for place in files.values())
            _write_decided(name, layout, beside)
        _write_earlier(params, layout, beside)
    return counts


def _deciding(params: Params) -> dict[str, Any]:
    """The values that decide the output of a stage, nested as in `params.yaml`."""
    resolved = params.model_dump(mode="json")
    deciding: dict[str, Any] = {}
    for path in {path for stage in STAGES.values() for path in stage.decided_by}:
        *sections, name = path.split(".")
        source, target = resolved, deciding
        for section in sections:
            source, target = source[section], target.setdefault(section, {})
        inner = source[name]
        target[name] = {**target.get(name, {}), **inner} if isinstance(inner, dict) else inner
    return deciding


def _write_earlier(params: Params, layout: Layout, beside: Path) -> None:
    """The versions that the configuration names, in the new folder `beside` `layout.inputs`."""
    from components.registry.earlier import write_earlier

    for folder, setting, name in (
        (layout.start, "train.start_from", params.train.start_from),
        (layout.compared, "evaluate.compare_with", params.evaluate.compare_with),
    ):
        write_earlier(
            beside / folder.relative_to(layout.inputs),
            name,
            setting=setting,
            optional=folder == layout.compared,
            model_name=params.registry.model_name,
            tracking=params.tracking,
            root=layout.root,
            cache=layout.state / "bundles",
            trusted_keys=params.rollout.trusted_keys,
        )


def _write_decided(name: str, layout: Layout, beside: Path) -> None:
    """A dataset's baseline and the decisions about its quarantine, in the new folder `beside` `layout.inputs`."""
    rows = [row for row in read_readmitted(layout.readmitted) if row.dataset == name]
    for stage in (line.name for line in STAGES.values() if line.per_dataset):
        path = beside / layout.decisions(name, stage).relative_to(layout.inputs)
        write_json(path, decisions_json(row for row in rows if row.stage == stage))
    baseline = layout.baseline(name)
    accepted = read_json(baseline) if baseline.is_file() else None
    write_json(beside / layout.reference(name).relative_to(layout.inputs), accepted)


def _files(place: Path, root: Path, cache: HashCache, name: str) -> dict[str, Any]:
    from components.datasets import remote
    from components.datasets.content import content_of

    entries: Sequence[tuple[str, int, int | str]]
    if remote.is_mirror(place):
        entries = [(file.name, file.size, file.changed_ns) for file in remote.listing(place)]
    else:
        entries = content_of(root / place, cache, what=f"inputs: read {name}")
    listed = {**_of_entries(entries), "bytes": sum(size for _, size, _ in entries)}
    texts = [entry for entry in entries if Path(entry[0]).suffix.lower() in TEXTS]
    if not texts:
        return listed
    others = [entry for entry in entries if Path(entry[0]).suffix.lower() not in TEXTS]
    return {**listed, "texts": _of_entries(texts), "recordings": _of_entries(others)}


def _of_entries(entries: Sequence[tuple[str, int, int | str]]) -> dict[str, Any]:
    return {"count": len(entries), "fingerprint": fingerprint([list(entry) for entry in entries])}
