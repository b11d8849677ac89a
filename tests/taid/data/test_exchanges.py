from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from harness_taid.data.exchanges import Encoder, Item, Limits, content_hash, split
from harness_taid.data.sources import Source
from harness_taid.network.batching import Layout, collate, packed, shares
from transformers import AutoModelForCausalLM

from harness.errors import DataError
from taid import tiny

LIMITS = Limits(total=60, prompt=30, response=40)


@pytest.fixture(scope="module")
def words():
    return tiny.tokenizer()


def encoded(words, rows, template=None, limits=LIMITS):
    template = words.chat_template if template is None else template
    return Encoder(words, template, limits).encode(rows, "rows")


def item(prompt, response, first=10):
    return Item(np.arange(first, first + prompt + response, dtype=np.int32), prompt)


def test_a_response_begins_after_the_template_and_ends_with_its_end_token(words):
    row = {"prompt": "Tell me more.", "response": "It is late."}
    (found,) = encoded(words, [row]).items
    prompt, response = found.ids[: found.prompt], found.ids[found.prompt :]
    assert words.decode(prompt) == "<s><|user|>\nTell me more.\n<|assistant|>\n"
    assert words.decode(response) == "It is late.</s>"
    asked = words.apply_chat_template(
        [{"role": "user", "content": "Tell me more."}], add_generation_prompt=True
    )["input_ids"]
    assert prompt.tolist() == asked
    assert (found.counted("response"), found.counted("all")) == (
        len(response),
        len(found.ids) - 1,
    )


def test_messages_give_the_last_answer_whose_prompt_fits(words):
    turns = [("One.", "Two."), ("Three.", "Four."), ("Five " * 30, "Six.")]
    messages = [
        {"role": role, "content": text}
        for pair in turns
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    (found,) = encoded(words, [{"messages": messages}]).items
    assert words.decode(found.ids[found.prompt :]) == "Four.</s>"
    assert words.decode(found.ids[: found.prompt]).count("<|assistant|>") == 2


def test_without_a_template_the_texts_stand_as_they_are(words):
    (found,) = encoded(words, [{"instruction": "Sum:", "output": " nine"}], template="").items
    assert words.decode(found.ids) == "<s>Sum: nine</s>"
    with pytest.raises(DataError, match="neither tokenizer has a chat template"):
        encoded(words, [{"messages": []}], template="")


def test_rows_are_dropped_and_cut_with_their_number_told(words):
    rows = [
        {"prompt": "A.", "response": " "},
        {"prompt": "A.", "completion": None},
        {"messages": [{"role": "user", "content": "A."}]},
        {"prompt": "window " * 40, "response": "It is late."},
        {"prompt": "A.", "response": "window " * 80},
        {"prompt": "A.", "response": "It is late."},
    ]
    found = encoded(words, rows)
    assert found.told("rows") == (
        "rows: 2 rows used, 3 dropped (empty response), 1 dropped (prompt over 30 tokens), "
        "1 responses cut"
    )
    assert len(found.items[0].ids) - found.items[0].prompt == 40
    assert words.eos_token_id not in found.items[0].ids
    with pytest.raises(DataError, match=r"no row of 3 can be used \(3: empty response\)"):
        encoded(words, rows[:3])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "A."}, "row 1: neither messages, nor the texts prompt and response"),
        ({"prompt": 3, "response": "A."}, "row 1: neither messages"),
        ({"messages": "A."}, "row 1: messages is not a list"),
        ({"messages": [{"content": "A."}]}, "row 1, message 1: messages is not a list"),
        ({"messages": [{"role": "user"}]}, r"row 1, message 1 \(user\) has no text"),
    ],
)
def test_broken_rows_are_named(words, row, message):
    with pytest.raises(DataError, match=message):
        encoded(words, [row])


def test_sources_are_told_from_each_other(tmp_path):
    rows = tiny.exchanges(3)
    table = tiny.write_jsonl(tmp_path / "train.jsonl", rows)
    tiny.write_jsonl(tmp_path / "test.jsonl", rows[:1])
    assert Source.of(table).rows(2) == rows[:2]
    folder = Source.of(str(tmp_path))
    assert (folder.rows(), folder.dev_rows(9)) == (rows, rows[:1])
    assert set(folder.as_dict()) == {"train", "dev"}
    assert len(Source.of("testbed").rows(5)) == 5
    assert Source.of("owner/name", split="x").as_dict()["hub"] == "owner/name"
    for name in ("no.jsonl", "./none", "one/two/three", "word"):
        with pytest.raises(DataError, match="no such file or folder"):
            Source.of(name)
    with pytest.raises(DataError, match="cannot be read from the hub"):
        Source.of("owner/name").rows()
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(DataError, match="there are no rows"):
        Source.of(table).rows()


def test_the_hub_gives_ultrachats_splits(monkeypatch):
    import datasets

    there = {"train_gen": 9, "test_gen": 9, "train_sft": 5, "test_sft": 2}
    asked = []

    def load(name, *, split, revision):
        asked.append((name, split, revision))
        name, _, limit = split.partition("[:")
        return tiny.exchanges(min(there[name], int(limit.rstrip("]") or 99) if limit else 99))

    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *a, **k: list(there))
    monkeypatch.setattr(datasets, "load_dataset", load)
    source = Source.of("HuggingFaceH4/ultrachat_200k", revision="abc")
    assert (len(source.rows()), len(source.rows(3)), len(source.dev_rows(9))) == (5, 3, 2)
    assert [split for _, split, _ in asked] == ["train_sft", "train_sft[:3]", "test_sft[:9]"]
    assert {revision for _, _, revision in asked} == {"abc"}
    with pytest.raises(DataError, match="no split other; there are train_gen, test_gen"):
        Source.of("owner/name", split="other").rows()


def test_what_is_held_out_has_prompts_of_its_own():
    items = [item(3 + k % 35, 4) for k in range(70)]
    train, dev = split(items, 12, 1)
    assert (len(train), len(dev)) == (64, 6)  # a tenth at most, prompts of two each
    prompts = [{one.ids[: one.prompt].tobytes() for one in part} for part in (train, dev)]
    assert not prompts[0] & prompts[1]
    assert split(items, 0, 1) == (items, [])
    few = [item(3 + k % 7, 4) for k in range(70)]
    assert len(split(few, 12, 1)[1]) == 10  # one prompt
    assert split(few[:1] * 20, 12, 1)[1] == []  # nothing to hold out
    assert content_hash(train) != content_hash(train[::-1])


@pytest.mark.parametrize("room", [0, 40])
def test_every_token_is_read_and_counted_once_whatever_the_layout(room):
    items = [item(2 + k % 5, 1 + k % 9, first=100 * k) for k in range(23)]
    wanted = sorted(label for one in items for label in one.ids[one.prompt :].tolist())
    for processes in (1, 3):
        layout = Layout(device_batch=4, room=room, processes=processes)
        found = shares(items, layout)
        assert len({len(passes) for passes in found}) == 1
        passes = [collate(group, layout, items[0], 0) for own in found for group in own]
        assert sorted(label for one in passes for label in one.labels.tolist()) == wanted
        for one in passes:
            assert one.labels.tolist() == one.ids.flatten()[one.predicting + 1].tolist()
            assert sum(one.counts) == len(one.labels)
            if room:
                assert one.ids.shape[1] <= 40 and one.mask is None


def test_a_process_without_rows_reads_one_and_counts_nothing():
    layout = Layout(device_batch=4, processes=3)
    found = shares([item(2, 3)], layout)
    one = collate(found[2][0], layout, item(2, 3), 0)
    assert found[2] == [[]] and one.labels.numel() == 0 and one.ids.shape == (1, 5)


def test_bins_are_filled_first_fit():
    assert [
        [len(one.ids) for one in row] for row in packed([item(1, n) for n in (6, 4, 2)], 7)
    ] == [
        [7],
        [5],
        [3],
    ]


def test_packed_exchanges_do_not_read_each_other(models):
    """Of an exchange in a pack the logits are those that it has alone, whatever stands before."""
    model = AutoModelForCausalLM.from_pretrained(models[0]).eval()
    items = [item(3, 4, first=20), item(2, 6, first=60), item(1, 1, first=90)]
    layout = Layout(device_batch=4, room=100)
    read = collate(items, layout, items[0], 0)
    with torch.inference_mode():
        logits = model(input_ids=read.ids, position_ids=read.positions, use_cache=False).logits
        rows = logits[0][read.predicting].split(list(read.counts))
        for one, found in zip(items, rows, strict=True):
            own = model(torch.tensor([one.ids.tolist()])).logits[0, one.prompt - 1 : -1]
            torch.testing.assert_close(found, own, atol=1e-5, rtol=1e-5)


def test_json_tables_are_read_too(tmp_path, words):
    (tmp_path / "rows.json").write_text(json.dumps(tiny.exchanges(2)))
    assert len(encoded(words, Source.of(str(tmp_path / "rows.json")).rows()).items) == 2
