"""Checkpoints as they come: every wrapper runs on each of them, or says in a line why not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.options import run_options
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair
from harness_factcg.models.hf import FactCheckerHF
from harness_taid.requests import ALONG
from harness_taid.training.distill import distill
from harness_taid.training.options import Options as Distilling
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, MistralConfig

from harness import compose
from harness.artefacts.adapters import adapter_in
from harness.errors import HarnessError
from harness.host.arguments import read
from harness.models.checkpoints import content_of, open_causal, place_of

from . import gguf_files, making

pytestmark = pytest.mark.long

TEXTS = ("Tell me about the old window.", "It is late.", "The lamp is near. " * 6)
LENGTH = 8


def no_pad(folder: Path) -> str:
    words = making.words()
    words.pad_token = None
    return making.llama(folder, words, pad_token_id=None)


def pad_is_end(folder: Path) -> str:
    words = making.words()
    words.pad_token = words.eos_token
    return making.llama(folder, words, pad_token_id=2)


def ends_in_a_list(folder: Path) -> str:
    place = making.llama(folder)
    config = {"bos_token_id": 1, "eos_token_id": [2, 700, 701, *range(900, 1100)]}
    (folder / "generation_config.json").write_text(json.dumps(config))
    return place


def pads_on_the_right(folder: Path) -> str:
    words = making.words()
    words.padding_side = "right"
    return making.llama(folder, words)


def pads_on_the_left(folder: Path) -> str:
    words = making.words()
    words.padding_side = "left"
    return making.llama(folder, words)


def no_bos(folder: Path) -> str:
    words = making.words(adds_bos=False)
    words.bos_token = None
    return making.llama(folder, words, bos_token_id=None)


def tied(folder: Path) -> str:
    return making.llama(folder, tie_word_embeddings=True)


def padded_vocabulary(folder: Path) -> str:
    return making.llama(folder, vocab_size=making.VOCABULARY + 80)


def sharded(folder: Path) -> str:
    place = making.saved(folder, making.LlamaConfig(**making.SIZES), max_shard_size="60KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return place


def adapter(folder: Path) -> str:
    base = making.llama(folder / "base")
    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(folder / "adapter")
    return str(folder / "adapter")


def gguf(folder: Path) -> str:
    return str(gguf_files.as_gguf(making.llama(folder / "source"), folder / "tiny.gguf"))


def short_window(folder: Path) -> str:
    """Mistral: every block sees the last six tokens."""
    return making.saved(folder, MistralConfig(**making.SIZES, sliding_window=6))


def windows_between(folder: Path) -> str:
    """Gemma 3: every second block sees the last six."""
    return making.gemma(folder, sliding_window=6)


KINDS = (
    no_pad, pad_is_end, ends_in_a_list, pads_on_the_right, pads_on_the_left, no_bos, tied,
    padded_vocabulary, sharded, adapter, gguf, short_window, windows_between,
)  # fmt: skip


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    kind: Callable[[Path], str] = request.param
    return kind(tmp_path_factory.mktemp(kind.__name__))


def opened(name: str, pretrained: str, **given: Any) -> Any:
    """A model as lm-eval's command opens it."""
    kind = HFLM if name == "hf" else compose(name)
    options = {"device": "cpu", "dtype": "float32", "batch_size": 3} | given
    return kind(**read(kind, {"pretrained": pretrained} | options))


def generation(text: str, doc: dict[str, Any] | None = None, **options: Any) -> Instance:
    settings = {"until": [], "max_gen_toks": LENGTH, "do_sample": False} | options
    return Instance("generate_until", doc or {}, (text, settings), 0, ("task", 0, 1))


def by_transformers(lm: Any, text: str) -> str:
    """A greedy answer to one prompt, without any wrapper."""
    ids = torch.tensor([lm.tok_encode(text)])
    with torch.no_grad():
        found = lm.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=LENGTH, do_sample=False,
            pad_token_id=0, eos_token_id=sorted(_ends(lm)),
        )  # fmt: skip
    return lm.tok_decode(found[0, ids.shape[1] :].tolist())


def _ends(lm: Any) -> set[int]:
    named = lm.model.generation_config.eos_token_id
    return {*(named if isinstance(named, list) else [named]), lm.eot_token_id} - {None}


def test_steering(place: str, tmp_path: Path) -> None:
    """Trained, steered in a mixed batch as alone, detected; a factor of 0 is the plain model."""
    data = making.concept_data(tmp_path / "data")
    options = Options(
        out=tmp_path / "dictionary", methods=["diffmean"], model=place, layer=0, device="cpu",
        dtype="float32", run=run_options({"axbench_data": str(data)}),
    )  # fmt: skip
    made = train(options)
    lm = opened("hf-steered", place, steering=str(made.folder))
    docs = [
        {"concept_id": concept, "factor": factor}
        for concept, factor in ((0, 0.0), (1, 4.0), (0, 4.0))
    ]
    asked = [generation(text, doc) for text, doc in zip(TEXTS, docs, strict=True)]
    together = lm.generate_until(asked)
    assert together == [lm.generate_until([one])[0] for one in asked]
    assert together[0] == by_transformers(opened("hf", place), TEXTS[0])
    row = {"input": TEXTS[0], "output": TEXTS[1], "concept_id": 0, "axbench_detect": True}
    scores = lm._scores([row])
    assert all(math.isfinite(score) for score in scores.values())


def test_speculation(place: str, tmp_path: Path) -> None:
    """With any drafter the greedy answers of transformers itself."""
    expected: list[str] | None = None
    for drafter in ("none", "ngram", "early:1", place):
        lm = opened("hf-speculative", place, drafter=drafter, gamma=3)
        expected = expected or [by_transformers(lm, text) for text in TEXTS]
        assert lm.generate_until([generation(text) for text in TEXTS]) == expected


def test_distillation(place: str, tmp_path: Path) -> None:
    """It teaches a student of random weights, learns itself, and is equal to itself."""
    rows = [{"prompt": f"{TEXTS[0]} {k}", "response": TEXTS[1]} for k in range(4)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told: list[str] = []
    starts = ["scratch:1x32", place]
    if adapter_in(place):  # a student is a whole model
        with pytest.raises(HarnessError, match=r"is an adapter of .*, no whole model; merge it"):
            place_of(starts.pop())
    for student in starts:
        made = distill(
            Distilling(
                out=tmp_path / student.replace("/", "_"),
                teacher=place,
                student=student,
                data=str(data),
                objective="fkl",
                steps=1,
                dev_rows=0,
                device="cpu",
            ),
            say=told.append,
        )
        assert (made.folder / "model.safetensors").is_file()
    lm = opened("hf-distilled", place, teacher=place)
    doc = {ALONG: ["reference"], "taid_seed": 0, "response": TEXTS[1]}
    options = {"do_sample": True, "temperature": 1.0}
    (answer,) = lm.generate_until([generation(TEXTS[0], doc, **options)])
    figures = answer.trace["fidelity"]["reference"]
    assert max(map(abs, figures["forward_kl"])) < 1e-6


def test_checking(place: str) -> None:
    """Read as a language model; a pair scores the same beside others as alone."""
    checker = open_checker(place, family="minicheck-7b", device="cpu", dtype="float32")
    pairs = [Pair(TEXTS[2], TEXTS[1]), Pair(TEXTS[1], TEXTS[0])]
    together = checker.verdicts(pairs)
    for pair in pairs:
        alone = checker.verdicts([pair])[pair].margin
        assert together[pair].margin == pytest.approx(alone, abs=1e-4)


def test_a_checker_opens_an_adapter_itself(tmp_path: Path) -> None:
    """lm-eval's ``peft=`` is no argument of it."""
    given = {"pretrained": adapter(tmp_path)}
    assert read(FactCheckerHF, given) == given
    alone = FactCheckerHF(**given, family="minicheck-7b", device="cpu").checker.checkpoint
    base, _ = open_causal("model", str(tmp_path / "base"))
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        assert (alone.model(ids).logits - base(ids).logits).abs().max() > 1e-2
    assert alone.sha == content_of(given["pretrained"]) != content_of(str(tmp_path / "base"))


def test_half_precision_on_a_cpu(tmp_path: Path) -> None:
    """Answers, a dictionary and scores all the same; rounding parts answers after a while."""
    place = making.llama(tmp_path / "model", initializer_range=0.1)
    half = {"dtype": "float16"}
    expected = [by_transformers(opened("hf", place, **half), text) for text in TEXTS]
    lm = opened("hf-speculative", place, drafter="ngram", **half)
    assert lm.model.dtype == torch.float16
    answers = lm.generate_until([generation(text) for text in TEXTS])
    assert [answer[:8] for answer in answers] == [answer[:8] for answer in expected]
    checker = open_checker(place, family="minicheck-7b", device="cpu", **half)
    (verdict,) = checker.verdicts([Pair(TEXTS[2], TEXTS[1])]).values()
    assert math.isfinite(verdict.margin)
    data = making.concept_data(tmp_path / "data")
    options = Options(
        out=tmp_path / "dictionary", methods=["diffmean"], model=place, layer=0, device="cpu",
        run=run_options({"axbench_data": str(data)}), **half,
    )  # fmt: skip
    assert train(options).manifest["model"]["dtype"] == "float16"
    steered = opened("hf-steered", place, steering=str(options.out), concept=0, factor=0.0, **half)
    assert steered.generate_until([generation(TEXTS[0])]) == expected[:1]
