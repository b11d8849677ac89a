from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from factcg.made_up import rows, write_jsonl


def run(launcher, folder, data, checker):
    command = [
        *(sys.executable, *launcher, "-m", "lm_eval", "--model", "hf-fact-checker"),
        *("--model_args", f"pretrained={checker},chunk_size=60", "--device", "cpu"),
        *("--tasks", "llm_aggrefact_ragtruth", "--log_samples", "--output_path", str(folder)),
        *("--metadata", json.dumps({"aggrefact_data": str(data)})),
    ]
    settings = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (samples,) = folder.rglob("samples_*.jsonl")
    found = [json.loads(line) for line in samples.read_text().splitlines()]
    return {sample["doc_id"]: sample["balanced_accuracy"]["margin"] for sample in found}


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path, checker_path):
    data = write_jsonl(tmp_path / "test.jsonl", rows(7, ["RAGTruth"]))
    one = run((), tmp_path / "one", data, checker_path)
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    two = run(launcher, tmp_path / "two", data, checker_path)
    assert len(one) == 7
    assert two == pytest.approx(one, abs=1e-4)
