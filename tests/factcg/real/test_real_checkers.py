"""Fact checkers made of pretrained models: MiniLM with a new head, SmolLM2 as a language model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair
from harness_factcg.training import train
from harness_factcg.training.options import Options
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from factcg.made_up import write_jsonl
from harness.testbed import resolve

pytestmark = pytest.mark.real

FACTS = (
    ("The museum in Delft was opened in 1931.", "The museum in Delft was opened in 1952."),
    ("Maria teaches chemistry at a school in Porto.", "Maria teaches history at a school in Rome."),
    ("The bridge has three arches of grey stone.", "The bridge has a single arch of iron."),
    ("Rain fell on the valley for nine days.", "It did not rain in the valley that month."),
    ("The ferry leaves at seven in the morning.", "The ferry leaves in the late afternoon."),
    ("Wolves returned to the forest after a century.", "No wolf has been seen in the forest."),
)
AROUND = "The town lies on a river. Its market is held on Saturdays. Many visitors come by train."
PAIRS = [Pair(f"{AROUND} {fact}" * (1 + k % 3), FACTS[0][0]) for k, (fact, _) in enumerate(FACTS)]


def rows() -> list[dict[str, object]]:
    """Each true sentence with a text that has it, and with one that says otherwise."""
    return [
        {"doc": f"{AROUND} {text}", "claim": claim, "label": label, "pair_id": str(number)}
        for number, (claim, other) in enumerate(FACTS)
        for label, text in ((1, claim), (0, other))
    ]


def test_minilm_becomes_a_checker_whose_scores_are_its_own(tmp_path: Path) -> None:
    """Batches, the first position alone and their order change no score; nor does transformers."""
    made = train.train(
        Options(
            out=tmp_path / "checker",
            model="testbed:minilm",
            stage2=[write_jsonl(tmp_path / "rows.jsonl", rows())],
            dev_share=0.2,
            batch_size=4,
            device_batch_size=4,
            epochs=2,
            evaluations=2,
            rate=1e-4,
            max_length=128,
            device="cpu",
        )
    )
    (stage,) = made.manifest["stages"]
    assert stage["chosen_step"] >= 1
    one, many = (
        open_checker(str(made.folder), batch_tokens=tokens, device="cpu") for tokens in (1, 4096)
    )
    alone, together = (checker.verdicts(PAIRS) for checker in (one, many))
    assert [alone[pair].score for pair in PAIRS] == pytest.approx(
        [together[pair].score for pair in PAIRS], abs=1e-5
    )
    model = AutoModelForSequenceClassification.from_pretrained(made.folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    for pair in PAIRS:
        (chunk,) = one.chunks(pair.document)
        asked = tokenizer(one.family.prompt(chunk, pair.claim), return_tensors="pt")
        with torch.no_grad():
            own = model(**asked).logits.softmax(-1)[0, 1]
        assert together[pair].score == pytest.approx(float(own), abs=1e-5)


def test_smollm2_says_yes_as_often_as_transformers_reads_it() -> None:
    smollm2 = resolve("testbed:smollm2")
    checker = open_checker(smollm2, dtype="float32", device="cpu")
    found = checker.verdicts(PAIRS[:3])
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    yes, no = (tokenizer(word)["input_ids"] for word in (" Yes", " No"))
    assert len(yes) == len(no) == 1
    for pair, verdict in found.items():
        (chunk,) = checker.chunks(pair.document)
        asked = tokenizer(checker.family.prompt(chunk, pair.claim), return_tensors="pt")
        with torch.no_grad():
            likely = model(**asked).logits[0, -1].log_softmax(-1)
        assert verdict.margin == pytest.approx(float(likely[yes[0]] - likely[no[0]]), abs=1e-3)
        assert 0.01 < verdict.score < 0.99
