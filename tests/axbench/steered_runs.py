"""A run of ``axbench_steer`` as lm-eval saves it, small enough to be judged by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Rating = float | None
Ratings = Mapping[int, Mapping[float | None, Sequence[Rating]]]
"""By concept and factor, all three ratings of each response of the selection half."""

STAMP = "2026-01-02T10-00-00.000000"


def write_run(
    folder: Path, edit: Mapping[str, str] | None, ratings: Ratings, **changes: Any
) -> Path:
    """Results and samples; each factor has also one response of the test half, rated 2.

    Args:
        folder: Is made.
        edit: What the results say of the steering; None for an unsteered run.
        ratings: Of the selection half.
        **changes: Of the results' top level.
    """
    samples = [
        {
            "doc": {"concept_id": concept, "concept": f"concept {concept}", "factor": factor},
            "resps": [["text"]],
            "filtered_resps": ["text"],
            "filter": "none",
            "metrics": ["overall_score"],
            "overall_score": {"concept_id": concept, "factor": factor, "split": split}
            | dict.fromkeys(("concept", "relatedness", "fluency"), rating),
        }
        for concept, factors in ratings.items()
        for factor, selected in factors.items()
        for split, rating in [*(("select", rating) for rating in selected), ("test", 2.0)]
    ]
    saved: dict[str, Any] = {
        "results": {"axbench_steer": {"alias": "axbench_steer", "overall_score,none": 1.0}},
        "configs": {"axbench_steer": {"task": "axbench_steer", "metadata": {}}},
        "n-samples": {"axbench_steer": {"original": len(samples), "effective": len(samples)}},
        "config": {"model": "hf-steered", **({"steered": dict(edit)} if edit else {})},
    }
    folder.mkdir(parents=True)
    (folder / f"results_{STAMP}.json").write_text(json.dumps(saved | changes))
    lines = "".join(json.dumps(sample) + "\n" for sample in samples)
    (folder / f"samples_axbench_steer_{STAMP}.jsonl").write_text(lines)
    return folder
