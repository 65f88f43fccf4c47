"""`mer datasets add NAME`: an adapter, its registry line, a fixture, its test and a section of params.yaml.

The generated code works as it is: it reads a plain layout (one folder per emotion, in it one folder per person) and
passes lint, types and the contract that all adapters share. The author then adapts it to the layout of the corpus.

All texts are generated and parsed before the first one is written, each is written beside and renamed, and the files
that others read come last: an interrupted call is completed by the next one, and complete files stay as they are.
"""

from __future__ import annotations

import ast
import builtins
import json
import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.contracts.atomic import atomic_file
from components.contracts.config import Params
from components.contracts.errors import ConfigError, DataError
from components.runtime.pages.templates import render
from pipelines.project import find_root

IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
LONGEST = 32
LONGEST_LINE = 60  # of a title or a licence
REGISTRY = Path("components/datasets/registry.py")
CORPORA = Path("tests/datasets/tiny_corpora.py")
PARAMS = Path("params.yaml")
IMPORT = "from components.datasets.corpora."


@dataclass(frozen=True, kw_only=True)
class Scaffold:
    """The values of the templates; `type_name` is the adapter's class."""

    name: str
    title: str
    licence: str

    @property
    def type_name(self) -> str:
        """`my_corpus` → `MyCorpus`."""
        return "".join(part.capitalize() for part in self.name.split("_"))

    @property
    def adapter(self) -> Path:
        """The adapter's file."""
        return Path(f"components/datasets/corpora/{self.name}.py")

    @property
    def test(self) -> Path:
        """The test's file."""
        return Path(f"tests/datasets/corpora/test_{self.name}.py")

    def render(self, template: str) -> str:
        """A template of this folder as text."""
        return render(
            Path(__file__).parent / f"add_{template}.py.j2",
            name=self.name,
            type=self.type_name,
            title=self.title,
            quoted=_quoted(self.title),
            licence=_quoted(self.licence),
        )


def add(name: str, *, title: str = "", licence: str = "not stated yet", root: Path | None = None) -> list[Path]:
    """Writes the missing files and entries of a new dataset.

    Args:
        name: of the dataset, as in params.yaml.
        title: the corpus's own name; the dataset's when left out.
        licence: its terms.
        root: the project.

    Returns:
        The files that were written or changed, relative to the project; none when everything exists already.

    Raises:
        ConfigError: the name is not valid, or it is taken by something that this command did not write.
        DataError: a file to be extended does not have the expected form.
    """
    top = root or find_root()
    scaffold = Scaffold(name=name, title=_line(title or name, "--title"), licence=_line(licence, "--licence"))
    _check_name(scaffold, top)
    new = {scaffold.adapter: scaffold.render("adapter"), scaffold.test: scaffold.render("test")}
    texts: dict[Path, str] = {}
    for path, text in new.items():
        if not (top / path).exists():
            texts[path] = text
        elif not _ours((top / path).read_text(encoding="utf-8"), text):
            remedy = "Choose another name, or edit that file"
            raise ConfigError("this test exists already", where=str(path), seen=name, remedy=remedy)
    edits: dict[Path, Callable[[str, Scaffold], str]] = {CORPORA: _fixture, REGISTRY: _registered, PARAMS: _section}
    for path, edit in edits.items():
        before = (top / path).read_text(encoding="utf-8")
        after = edit(before, scaffold)
        if after != before:
            texts[path] = after
    for path, text in texts.items():
        _check_text(path, text)
    for path, text in texts.items():
        with atomic_file(top / path) as beside:
            beside.write_text(text, encoding="utf-8")
    return list(texts)


def words(name: str, written: list[Path]) -> str:
    """The printed report: the files written and the next steps."""
    if not written:
        return f"{name} exists already; nothing was changed."
    return "\n".join(
        [
            *(f"wrote     {path}" for path in written),
            "",
            "It reads <emotion>/<person>/<recording> below its root. Next:",
            f"  components/datasets/corpora/{name}.py  adapt `scan`, EMOTIONS, licence and `about` to the corpus",
            f"  {CORPORA}  make `{name}` write a tiny corpus in the same layout",
            f"  pytest -q tests/datasets/corpora/test_{name}.py tests/datasets/test_contract.py -k {name}",
            f"  mer datasets check {name} --root DIR",
            f"  mer datasets preview {name} --root DIR",
            f"  mer run --set datasets='[{name}]' --set {name}.root=DIR",
        ]
    )


def _quoted(text: str) -> str:
    """A text as a Python literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _line(text: str, where: str) -> str:
    """A text that fits a line of the adapter. Raises ConfigError."""
    if not text.strip() or len(text) > LONGEST_LINE or not text.isprintable() or set(text) & set('"\\'):
        raise ConfigError(
            "not a line of text", where=where, seen=text, allowed=f'1 to {LONGEST_LINE} characters without " or \\'
        )
    return text.strip()


def _check_name(scaffold: Scaffold, top: Path) -> None:
    name = scaffold.name
    if not IDENTIFIER.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise ConfigError(
            "this cannot be a dataset's name",
            where="NAME",
            seen=name,
            allowed=f"lower-case letters, digits and _ between them, at most {LONGEST}, not a Python keyword",
            remedy="A name such as my_corpus",
        )
    if name in Params.model_fields:
        raise ConfigError("params.yaml has a section of that name", where="NAME", seen=name)
    there = top / scaffold.adapter
    if there.exists():
        if _ours(there.read_text(encoding="utf-8"), scaffold.render("adapter")):
            return  # begun or completed by an earlier call
        remedy = "Choose another name, or edit that file"
        raise ConfigError("this module exists already", where=str(scaffold.adapter), seen=name, remedy=remedy)
    taken = {
        **dict.fromkeys(dir(builtins), "Python"),
        **{bound: str(path) for path in (CORPORA, REGISTRY) for bound in _bound(top / path)},
        **dict.fromkeys(_bound_in(scaffold.render("adapter"), imports_only=True), "an adapter's imports"),
    }
    for bound in (name, scaffold.type_name):
        if bound in taken:
            raise ConfigError(f"the name has a different meaning in {taken[bound]}", where="NAME", seen=bound)


def _bound(path: Path) -> set[str]:
    return _bound_in(path.read_text(encoding="utf-8"))


def _bound_in(text: str, *, imports_only: bool = False) -> set[str]:
    """The names that a module's top level binds."""
    names: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif imports_only:
            continue
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _ours(there: str, scaffold: str) -> bool:
    """Whether a file is the scaffold as written, whatever its title and licence."""
    mask = re.compile(r'^("""|    licence = |        title=|    """The adapter of ).*$', re.MULTILINE)
    return mask.sub(r"\1", there) == mask.sub(r"\1", scaffold)


def _registered(text: str, scaffold: Scaffold) -> str:
    """The registry with the adapter's import and entry, each in alphabetical order."""
    statement = f"{IMPORT}{scaffold.name} import {scaffold.type_name}"
    if statement in text.splitlines():
        return text
    return _entered(
        _imported(text, statement), "ADAPTERS", f'    "{scaffold.name}": {scaffold.type_name}(),', where=REGISTRY
    )


def _fixture(text: str, scaffold: Scaffold) -> str:
    """The tiny corpora with one more entry."""
    if re.search(rf"^def {scaffold.name}\(", text, re.MULTILINE):
        return text
    start = _table(text, "CORPORA", where=CORPORA)
    text = text[:start] + scaffold.render("fixture") + text[start:]
    return _entered(text, "CORPORA", f'    "{scaffold.name}": {scaffold.name},', where=CORPORA)


def _section(text: str, scaffold: Scaffold) -> str:
    """params.yaml with a section at its end; the dataset is not in use until `datasets` names it."""
    before = yaml.safe_load(text)
    if not isinstance(before, dict):
        raise DataError("the configuration must be a mapping", where=str(PARAMS), seen=type(before).__name__)
    if scaffold.name in before:
        return text
    section = f"{scaffold.name}:  # name it in `datasets` above to use it\n  root: corpora/{scaffold.name}\n"
    after = f"{text.rstrip()}\n\n{section}"
    if yaml.safe_load(after) != {**before, scaffold.name: {"root": f"corpora/{scaffold.name}"}}:
        raise DataError("a section cannot be put at the end of the configuration", where=str(PARAMS))
    return after


def _imported(text: str, statement: str) -> str:
    lines = text.splitlines(keepends=True)
    there = [index for index, line in enumerate(lines) if line.startswith(IMPORT)]
    if not there:
        raise DataError("the registry imports no adapter", where=str(REGISTRY))
    at = next((index for index in there if lines[index].split()[1] > statement.split()[1]), there[-1] + 1)
    return "".join([*lines[:at], f"{statement}\n", *lines[at:]])


def _entered(text: str, table: str, entry: str, *, where: Path) -> str:
    start = _table(text, table, where=where)
    lines = text[start:].splitlines(keepends=True)
    end = lines.index("}\n")
    at = next((index for index in range(1, end) if lines[index] > entry), end)
    return text[:start] + "".join([*lines[:at], f"{entry}\n", *lines[at:]])


def _table(text: str, table: str, *, where: Path) -> int:
    """The offset of a dictionary with one entry per line."""
    match = re.search(rf"^{table}\b.*\{{\n(?:    .*\n)*\}}\n", text, re.MULTILINE)
    if match is None:
        raise DataError(f"there is no table {table} with one entry per line", where=str(where))
    return match.start()


def _check_text(path: Path, text: str) -> None:
    if path.suffix == ".py":
        ast.parse(text, filename=str(path))
