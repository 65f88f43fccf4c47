"""The only module that uses Great Expectations: plain suites and Arrow tables → plain outcomes.

With a docs folder the context is a file context below it and Data Docs are built there; without one it is ephemeral
and nothing is written. Analytics are off and nothing is sent.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from components.contracts.errors import ContractError
from components.validation.expectation import Expectation, Suite

SITE = "local_site"
VARIABLES = "gx/uncommitted/config_variables.yml"


@dataclass(frozen=True, kw_only=True)
class ExpectationOutcome:
    """The outcome of one expectation.

    `observed` is the observed value in words; `failures` are (key of the row, value seen) of every row that broke it,
    sorted, and empty for an expectation about a whole table.
    """

    expectation: Expectation
    success: bool
    observed: str
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one suite on a table of `rows` rows."""

    suite: str
    rows: int
    judged: tuple[ExpectationOutcome, ...]

    @property
    def failed(self) -> tuple[ExpectationOutcome, ...]:
        """The expectations that do not hold."""
        return tuple(judged for judged in self.judged if not judged.success)


Broken = tuple[Outcome, ExpectationOutcome]


def critical(outcomes: Iterable[Outcome]) -> tuple[Broken, ...]:
    """The critical expectations that do not hold."""
    pairs = ((outcome, judged) for outcome in outcomes for judged in outcome.failed)
    return tuple((outcome, judged) for outcome, judged in pairs if judged.expectation.level == "critical")


def error_of(broken: Sequence[Broken], *, where: str, look: str) -> ContractError:
    """The error for the first broken critical expectation, which names the others; `look` points to more."""
    outcome, first = broken[0]
    expectation = first.expectation
    others = ", ".join(f"{other.suite}.{judged.expectation.name}" for other, judged in broken[1:])
    seen = "; ".join(f"{key}: {value}" for key, value in first.failures[:3])
    remedy = [expectation.remedy, *([f"Also broken: {others}"] if others else []), look]
    return ContractError(
        f"a critical expectation is broken: {expectation.says}",
        where=f"{where}: {outcome.suite}.{expectation.name}",
        seen=f"{first.observed} ({seen})" if seen else first.observed,
        allowed=expectation.allowed,
        remedy=". ".join(remedy),
    )


def figures(outcome: Outcome) -> dict[str, Any]:
    """An outcome in the form of `result.json`: rows, expectations, and those that do not hold."""
    return {
        "rows": outcome.rows,
        "evaluated": len(outcome.judged),
        "failed": {
            judged.expectation.name: {
                "level": judged.expectation.level,
                "says": judged.expectation.says,
                "observed": judged.observed,
            }
            for judged in outcome.failed
        },
    }


class _Compiled(BytecodeCache):
    """Compiled templates, kept in memory."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


@cache
def import_library() -> Any:
    """Great Expectations, without analytics, which it reads when it is first imported: only here."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations
    from great_expectations.render.view import view

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    # It makes an environment for every page, and would compile the same templates for each of them.
    view.Environment = partial(Environment, bytecode_cache=_Compiled())
    return great_expectations


class Checker:
    """Runs suites in one Great Expectations context: Suite → ValidationDefinition → Checkpoint.

    Args:
        docs: folder for the context and its Data Docs, replaced if it exists; None checks without writing.
    """

    def __init__(self, docs: Path | None = None) -> None:
        gx = import_library()
        if docs is None:
            self._context: Any = gx.get_context(mode="ephemeral")
        else:
            shutil.rmtree(docs, ignore_errors=True)
            docs.mkdir(parents=True)
            self._context = gx.get_context(mode="file", project_root_dir=docs)
            # It holds nothing but comments, and would be read for every setting that is looked up.
            (docs / VARIABLES).unlink(missing_ok=True)
            self._context.update_data_docs_site(SITE, _site())
        self._context.enable_analytics(False)
        self._context.variables.progress_bars = {"globally": False}
        self._source = self._context.data_sources.add_pandas("tables")
        self._docs = docs

    def check(self, suite: Suite, table: pa.Table) -> Outcome:
        """Judges every expectation of a suite on a table. Raises ContractError if one could not be computed."""
        import great_expectations as gx
        from great_expectations.checkpoint import UpdateDataDocsAction

        asset = self._source.add_dataframe_asset(suite.name)
        definition = gx.ValidationDefinition(
            name=suite.name,
            data=asset.add_batch_definition_whole_dataframe("whole"),
            suite=self._context.suites.add(_suite(suite)),
        )
        checkpoint = gx.Checkpoint(
            name=suite.name,
            validation_definitions=[self._context.validation_definitions.add(definition)],
            actions=[] if self._docs is None else [UpdateDataDocsAction(name="data_docs")],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [suite.key]},
        )
        run = self._context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table.to_pandas()})
        (result,) = run.run_results.values()
        expectations = {expectation.name: expectation for expectation in suite.expectations}
        judged = {}
        for evaluated in result.results:
            name = evaluated.expectation_config.meta["name"]
            judged[name] = _judged(suite, expectations[name], evaluated)
        return Outcome(
            suite=suite.name,
            rows=table.num_rows,
            judged=tuple(judged[expectation.name] for expectation in suite.expectations),
        )


def _site() -> dict[str, Any]:
    # The folder above the context's own, so that the context holds no path of this machine.
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": ".."},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def _suite(suite: Suite) -> Any:
    import great_expectations as gx

    gx_suite = gx.ExpectationSuite(name=suite.name)
    for expectation in suite.expectations:
        class_name = "".join(part.capitalize() for part in expectation.kind.split("_"))
        gx_suite.add_expectation(
            getattr(gx.expectations, class_name)(
                **expectation.arguments,
                notes=f"{expectation.says}. {expectation.remedy}.",
                meta={"name": expectation.name, "level": expectation.level},
                severity="critical" if expectation.level == "critical" else "warning",
            )
        )
    return gx_suite


def _judged(suite: Suite, expectation: Expectation, evaluated: Any) -> ExpectationOutcome:
    raised = evaluated.exception_info or {}
    errors = [raised] if "raised_exception" in raised else list(raised.values())
    if any(error.get("raised_exception") for error in errors):
        raise ContractError(
            "an expectation could not be computed",
            where=f"{suite.name}: {expectation.name}",
            seen="; ".join(str(error.get("exception_message")) for error in errors),
            allowed=expectation.allowed,
            remedy=expectation.remedy,
        )
    if "observed_value" in evaluated.result:
        return ExpectationOutcome(
            expectation=expectation, success=bool(evaluated.success), observed=str(evaluated.result["observed_value"])
        )
    failures = sorted(
        (str(row[suite.key]), _seen(expectation, row)) for row in evaluated.result.get("unexpected_index_list") or ()
    )
    return ExpectationOutcome(
        expectation=expectation,
        success=bool(evaluated.success),
        observed=f"{len(failures)} of {evaluated.result['element_count']} rows",
        failures=tuple(failures),
    )


def _seen(expectation: Expectation, row: dict[str, Any]) -> str:
    columns = expectation.field.split(", ")
    values = [row.get(column) for column in columns]
    if len(columns) == 1:
        return str(values[0])
    return ", ".join(f"{column} {value}" for column, value in zip(columns, values, strict=True))
