"""One way to read a text: lm-eval's, with or without a beginning-of-sequence token, everywhere."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from harness_axbench.activations.loading import load_reader
from harness_axbench.options import run_options
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair
from harness_taid.data.exchanges import Encoder, Limits
from harness_taid.network.students import open_tokenizer
from harness_taid.training.distill import distill
from harness_taid.training.options import Options as Distilling
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from harness import compose
from harness.errors import HarnessError

from . import making

BOS = 1
TEXT = "Tell me about the old window."
CPU: dict[str, Any] = {"device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its tokenizer puts no BOS before a text, as GGUF files and some repositories have it."""
    folder = tmp_path_factory.mktemp("gemma")
    return making.gemma(folder, making.words(adds_bos=False))


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its tokenizer puts a BOS before a text, and its chat template writes none."""
    folder = tmp_path_factory.mktemp("chatting")
    return making.llama(folder, making.words(template=making.PLAIN_CHAT))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return making.concept_data(tmp_path_factory.mktemp("data"))


def dictionary(out: Path, model: str, data: Path, **changes: Any) -> Path:
    options = {"methods": ("diffmean",), "model": model, "layer": 0, **CPU} | changes
    run = run_options({"axbench_data": str(data)})
    return train(Options(out=out, run=run, **options)).folder


def as_lm_eval(model: str, text: str, add_bos_token: bool | None) -> list[int]:
    """What lm-eval's own model reads."""
    return HFLM(pretrained=model, add_bos_token=add_bos_token, **CPU).tok_encode(text)


@pytest.mark.parametrize("add", [None, True, False])
def test_gemma_is_read_as_lm_eval_reads_it(gemma: str, add: bool | None) -> None:
    expected = as_lm_eval(gemma, TEXT, add)
    assert (expected[0] == BOS) is bool(add)

    reader = load_reader(gemma, layer=0, batch_size=1, revision="main", add_bos_token=add, **CPU)
    assert reader.encode({"input": TEXT, "output": None}) == expected
    assert reader.bos == (BOS if add else None)

    tokenizer = open_tokenizer(gemma, add_bos_token=add)
    encoder = Encoder(tokenizer, "", Limits(), add_bos_token=add)
    (item,) = encoder.encode([{"prompt": TEXT, "response": "It is."}], "rows").items
    assert item.ids[: item.prompt].tolist() == expected

    checker = open_checker(gemma, family="minicheck-7b", add_bos_token=add, **CPU)
    pair = Pair("It is late.", "It is.")
    (ids,) = checker._planner.plan([pair]).ids
    asked = checker._planner.family.prompt(pair.document, pair.claim)
    assert ids.tolist() == as_lm_eval(gemma, asked, add)


def test_a_template_without_a_bos_gets_the_tokenizers(chatting: str) -> None:
    lm = HFLM(pretrained=chatting, **CPU)
    turn = [{"role": "user", "content": TEXT}]
    expected = lm.tok_encode(lm.apply_chat_template(turn))
    assert expected[0] == BOS

    tokenizer = open_tokenizer(chatting)
    encoder = Encoder(tokenizer, tokenizer.chat_template, Limits())
    (item,) = encoder.encode([{"prompt": TEXT, "response": "It is."}], "rows").items
    assert item.ids[: item.prompt].tolist() == expected

    reader = load_reader(chatting, layer=0, batch_size=1, revision="main", **CPU)
    asked = tokenizer.apply_chat_template(turn, tokenize=False)
    assert reader.encode({"input": TEXT, "output": None}) == lm.tok_encode(asked)


def test_detection_reads_as_training_did(gemma: str, data: Path, tmp_path: Path) -> None:
    """The manifest says with which token; a model that reads otherwise is refused in a line."""
    begun = dictionary(tmp_path / "begun", gemma, data, add_bos_token=True)
    plain = dictionary(tmp_path / "plain", gemma, data)
    said = {p.name: json.loads((p / "dictionary.json").read_text()) for p in (begun, plain)}
    assert (said["begun"]["bos"], said["begun"]["prefix"]) == (BOS, 1)
    assert (said["plain"]["bos"], said["plain"]["prefix"]) == (None, 0)

    steered = compose("hf-steered")
    for folder, add in ((begun, True), (plain, None), (plain, False)):
        lm = steered(gemma, steering=str(folder), add_bos_token=add, **CPU)
        row = {"input": TEXT, "output": None}
        assert lm._reader().encode(row) == as_lm_eval(gemma, TEXT, add)
    for folder, add, do in ((begun, None, "True"), (plain, True, "False")):
        with pytest.raises(HarnessError, match=f"give --model_args add_bos_token={do}") as told:
            steered(gemma, steering=str(folder), add_bos_token=add, **CPU)
        assert "\n" not in str(told.value)


def test_a_dictionary_of_before_still_opens(chatting: str, data: Path, tmp_path: Path) -> None:
    """It does not say how its texts were read: then chat templates alone decided."""
    folder = dictionary(tmp_path / "old", chatting, data)
    path = folder / "dictionary.json"
    said = json.loads(path.read_text())
    assert said["bos"] == BOS
    del said["bos"], said["add_bos_token"]
    path.write_text(json.dumps(said))
    lm = compose("hf-steered")(chatting, steering=str(folder), **CPU)
    assert lm._reader().encode({"input": TEXT, "output": None})[0] != BOS


def test_whoever_reads_gemma_without_a_bos_is_told(
    gemma: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        dictionary(tmp_path / "dictionary", gemma, data)
        open_checker(gemma, family="minicheck-7b", **CPU)
        lm = compose("hf-speculative")(gemma, **CPU)
        lm.generate_until([_generation(TEXT), _generation("It is late.")])
    told = [r.getMessage() for r in caplog.records if "read badly so" in r.getMessage()]
    assert len(told) == 3
    assert all("without <s>" in line and "add_bos_token=True" in line for line in told)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        dictionary(tmp_path / "begun", gemma, data, add_bos_token=True)
        lm = compose("hf-speculative")(gemma, add_bos_token=True, **CPU)
        lm.generate_until([_generation(TEXT)])
    assert not [r for r in caplog.records if "read badly so" in r.getMessage()]


def _generation(prompt: str) -> Instance:
    options = {"until": [], "max_gen_toks": 2, "do_sample": False}
    return Instance("generate_until", {}, (prompt, options), 0, ("task", 0, 1))


def test_a_student_reads_as_it_was_distilled(
    gemma: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its tokenizer is saved as it was used, and its record says so."""
    rows = [{"prompt": f"{TEXT} {k}", "response": "It is late."} for k in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told: list[str] = []
    made = {
        add: distill(
            Distilling(
                out=tmp_path / f"student-{add}",
                student=gemma,
                data=str(tmp_path / "rows.jsonl"),
                objective="sft",
                steps=1,
                dev_rows=0,
                device="cpu",
                add_bos_token=add,
            ),
            say=told.append,
        )
        for add in (None, True)
    }
    assert [one.manifest["bos"] for one in made.values()] == [None, BOS]
    assert [line for line in told if "read badly so" in line] == [
        "warning: texts are read without <s> before them, which this tokenizer does not add, and "
        "models of type gemma3_text read badly so: ask for it: --add-bos-token"
    ]
    for add, one in made.items():
        ids = HFLM(pretrained=str(one.folder), **CPU).tok_encode(TEXT)
        assert ids == as_lm_eval(gemma, TEXT, add)
    lm = compose("hf-distilled")(str(made[True].folder), add_bos_token=False, **CPU)
    lm.encoded(TEXT, None)
    assert "begin with token 1, and these begin with no such token" in caplog.text
