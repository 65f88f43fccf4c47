"""What a folder holds, as one hash: for tests that nothing in it changed."""

from __future__ import annotations

from pathlib import Path

from components.contracts.fingerprint import file_sha256, fingerprint


def tree_sha256(root: Path) -> str:
    """SHA-256 over the relative names and contents of every file below a folder."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return fingerprint([[path.relative_to(root).as_posix(), file_sha256(path)] for path in files])
