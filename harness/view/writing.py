"""One pass over the samples of some runs: shards, the index, the page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.view.documents import Documents
from harness.view.drawing import drawn, without_drawn
from harness.view.facts import facts_of, snippet
from harness.view.hiding import hidden
from harness.view.lines import objects_of
from harness.view.page import write_page
from harness.view.runs import SamplesFile, ShownRun
from harness.view.samples import Cutter, Plain, Sample, read_sample
from harness.view.shards import Shards, write_script

_DOCUMENTS = 4_000
"""Documents of a part of the index."""
Progress = Callable[[int, int], None]


class Writing:
    """One pass over the samples of some runs.

    Args:
        draft: An empty folder.
        runs: The runs.
        show_text: Also write the texts of safety suites.
        on_bytes: Called with the bytes read so far and those of all samples.
    """

    def __init__(
        self,
        draft: Path,
        runs: Sequence[ShownRun],
        *,
        show_text: bool,
        on_bytes: Progress | None,
    ) -> None:
        self.data = draft / "data"
        self.data.mkdir()
        self.draft, self.runs = draft, [run for run in runs if run.files]
        self.missing = sum(run.missing for run in runs)
        self.show_text, self.on_bytes = show_text, on_bytes
        self.total = sum(file.size for run in self.runs for file in run.files)
        self.done = 0
        self.cutter = Cutter()
        self.documents = Documents()
        self.shards = Shards(self.data)
        self.tasks: dict[str, int] = {}
        self.filters: dict[str, int] = {}
        self.samples = self.hidden = self.broken = self.repeated = self.lost = 0
        self.incomplete: list[str] = []

    def write(self, title: str, out: Path) -> dict[str, Any]:
        """Write all.

        Args:
            title: The page's heading.
            out: Where the folder will be.

        Returns:
            The counts of ``Written``.

        Raises:
            HarnessError: There is no sample.
        """
        for place, run in enumerate(self.runs):
            for file in run.files:
                self._read(place, file)
        self.shards.close()
        if not self.samples:
            raise HarnessError(f"there is no sample in {self.runs[0].files[0].path}")
        facets = self.documents.facets()
        parts = self._index(facets)
        write_page(self.draft / "index.html", title=title, data=self._meta(facets, parts))
        return {
            "page": out / "index.html",
            "runs": len(self.runs),
            "tasks": len(self.tasks),
            "documents": len(self.documents),
            "samples": self.samples,
            "hidden": self.hidden,
            "broken": self.broken,
            "cut": self.cutter.cut,
            "repeated": self.repeated,
            "missing": self.missing,
            "lost": self.lost,
            "incomplete": tuple(self.incomplete),
        }

    def _read(self, run: int, file: SamplesFile) -> None:
        task = self.tasks.setdefault(file.task, len(self.tasks))
        seen: set[tuple[int, str, str]] = set()
        before = self.done
        for end, line in objects_of(file.path):
            self.done = before + end
            sample = None if line is None else read_sample(line, self.cutter)
            if sample is None:
                self.broken += 1
                continue
            key = sample.number, sample.digest, sample.filter
            if key in seen:
                self.repeated += 1
                continue
            seen.add(key)
            self._add(run, task, file, sample)
            if self.on_bytes is not None and not self.samples % 200:
                self.on_bytes(self.done, self.total)
        self.done = before + file.size
        if file.documents is not None:
            self._count(file, Counter(name for *_, name in seen), file.documents)

    def _count(self, file: SamplesFile, found: Counter[str], documents: int) -> None:
        """Each filter has every document."""
        fewest = min(found.values(), default=0)
        if fewest < documents:
            self.lost += sum(documents - count for count in found.values()) or documents
            self.incomplete.append(
                f"{file.path} holds {fewest} of {documents} samples; it is cut or damaged"
            )

    def _add(self, run: int, task: int, file: SamplesFile, sample: Sample) -> None:
        facts = facts_of(sample, file.headline)
        shown = self.show_text or not file.hidden
        texts = sample if shown else hidden(sample)
        document = self.documents.of(task, texts, snippet(texts, texts=shown))
        shard, place = self.shards.add(_payload(texts))
        of_filter = self.filters.setdefault(sample.filter, len(self.filters))
        document.samples.append(
            [
                *(run, task, sample.number, facts.factor, of_filter, shard, place),
                *(facts.score, facts.flags, facts.answer),
            ]
        )
        self.samples += 1
        self.hidden += not shown

    def _index(self, facets: Mapping[str, list[str]]) -> int:
        parts = 0
        every = iter(self.documents)
        while part := list(islice(every, _DOCUMENTS)):
            rows = [
                [one.task, one.number, one.snippet, values, one.samples]
                for one in part
                for values in [[one.facets.get(name, -1) for name in facets]]
            ]
            encoded = json.dumps(rows, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            write_script(self.data, f"index-{parts}", encoded)
            parts += 1
        return parts

    def _meta(self, facets: Mapping[str, list[str]], parts: int) -> dict[str, Any]:
        headlines: dict[str, list[Any]] = {}
        for run in self.runs:
            for file in run.files:
                if (one := file.headline) is not None:
                    headlines.setdefault(file.task, [one.metric, one.up])
        hidden_tasks = {f.task for run in self.runs for f in run.files if f.hidden}
        return {
            "runs": [[one.ids, one.name, one.about] for one in self.runs],
            "tasks": [
                [name, *headlines.get(name, [None, None]), name in hidden_tasks]
                for name in self.tasks
            ],
            "filters": list(self.filters),
            "facets": facets,
            "parts": parts,
            "shards": self.shards.count,
            "documents": len(self.documents),
            "samples": self.samples,
            "left_out": {
                "hidden": self.hidden,
                "broken": self.broken,
                "cut": self.cutter.cut,
                "repeated": self.repeated,
                "missing": self.missing,
                "lost": self.lost,
            },
        }


def _payload(sample: Sample) -> dict[str, Plain]:
    """A sample as the page gets it; what is empty is left out."""
    drawings, facts = drawn(sample)
    metrics: list[list[Plain]] = []
    for name, value in sample.metrics.items():
        kept = without_drawn(value)
        known = next((one for one in metrics if one[1] == kept), None)
        if known is None:
            metrics.append([[name], kept])
        else:
            known[0].append(name)
    found = {
        "prompt": sample.prompt,
        "options": sample.options,
        "answers": sample.answers,
        "filtered": sample.filtered,
        "target": sample.target,
        "metrics": metrics,
        "ratings": sample.ratings,
        "reasons": sample.reasons,
        "drawings": drawings,
        "facts": facts,
        "row": sample.row,
    }
    return {key: value for key, value in found.items() if value not in ("", [], {})}
