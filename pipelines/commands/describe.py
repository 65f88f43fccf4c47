"""`mer describe`: every stage of the pipeline, in words."""

from __future__ import annotations

from pathlib import Path

from pipelines import dag
from pipelines.project import find_root


def pipeline(*, short: bool = False, root: Path | None = None) -> str:
    """Every stage in running order: description, command, upstream stages, inputs and outputs."""
    nodes = dag.read(root or find_root())
    if short:
        width = max(len(node.address) for node in nodes)
        return "\n".join(f"{node.address:<{width}}  {node.description}" for node in nodes)
    return "\n\n".join(_stage(node) for node in nodes)


def _stage(node: dag.Node) -> str:
    parameters = [f"{file}: {', '.join(keys)}" for file, keys in node.params.items()]
    rows = [
        ("command", [node.command]),
        ("after", [", ".join(node.upstream)] if node.upstream else []),
        ("reads", list(node.deps)),
        ("values", parameters),
        ("writes", list(node.outs)),
    ]
    lines = [f"{node.address}: {node.description}"]
    for name, values in rows:
        lines += [f"  {name if first == 0 else '':<8} {value}" for first, value in enumerate(values)]
    return "\n".join(lines)
