"""The filter of a judged task: between generation and metrics, and nothing is lost if it stops."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from lm_eval.api.filter import Filter

from harness.artefacts.cache import cache_folder
from harness.data.sources import Row
from harness.errors import HarnessError
from harness.host.edge import sigterm_interrupting
from harness.judging.judgement import Judgement
from harness.judging.run_files import write_unscored
from harness.models.responses import trace_of
from harness.secrets import seal

log = logging.getLogger(__name__)


class Judging(Protocol):
    """What the filter needs of a task."""

    config: Any

    def dump_config(self) -> dict[str, Any]:
        """The configuration, as it is saved."""
        ...

    def judge(self, docs: Sequence[Row], responses: Sequence[str]) -> Sequence[Judgement]:
        """Rate the responses."""
        ...


class JudgeFilter(Filter):  # type: ignore[misc]  # lm-eval is untyped
    """The last step of a judged task's filter pipeline: responses → judgements."""

    def __init__(self, task: Judging) -> None:
        super().__init__()
        self._task = task

    def apply(self, resps: Iterable[Any], docs: list[Row]) -> list[Judgement]:
        """Judge what the filters before have left of each response.

        Whatever stops the judging, the responses are saved first.
        """
        texts = [r[0] if isinstance(r, list) else r for r in resps]
        try:
            with sigterm_interrupting():
                return list(self._task.judge(docs, texts))
        except HarnessError as error:
            raise type(error)(f"{error}. {self._save(docs, texts)}") from error
        except KeyboardInterrupt as stop:
            stop.add_note(self._save(docs, texts))
            raise
        except BaseException:
            log.error("%s", self._save(docs, texts))
            raise

    def _save(self, docs: Sequence[Row], texts: Sequence[str]) -> str:
        """Keep the responses; returns the sentence that says how to go on."""
        task = self._task
        shown = [str(Judgement(str(text), trace_of(text), {}, {})) for text in texts]
        path = write_unscored(
            cache_folder() / "unscored" / str(task.config.task),
            seal(task.dump_config()),
            list(zip(docs, texts, strict=True)),
            shown,
        )
        return (
            f"The responses are saved: `harness score {path}` judges them without the model; say "
            "with --judge who does"
        )
