"""What of a row is read, and what is refused because it would be left out without a word."""

from __future__ import annotations

import json

import pytest
from harness_taid.data import held_out
from harness_taid.data.rows import columns_of, messages_of
from harness_taid.data.sources import Source

from harness.errors import DataError


def test_an_alpaca_input_belongs_to_the_prompt():
    row = {"instruction": "Say it again.", "input": "Ben owns a dog.", "output": "Ben owns a dog."}
    assert columns_of(row, "r") == ("Say it again.\n\nBen owns a dog.", "Ben owns a dog.")
    for empty in ("", " \n", None):
        assert columns_of(row | {"input": empty}, "r")[0] == "Say it again."
    with pytest.raises(DataError, match="r: input is no text"):
        columns_of(row | {"input": 3}, "r")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"instruction": "A.", "output": "B.", "system": "Be brief."}, "r has system, which"),
        ({"prompt": "A.", "response": "B.", "history": [["C.", "D."]]}, "r has history, which"),
        ({"instruction": "A.", "context": "C.", "response": "B."}, "r has context, which"),
        ({"prompt": "A.", "input": "C.", "response": "B."}, "r has input, which is not read"),
        ({"prompt": "A.", "instruction": "C.", "response": "B."}, "r has instruction, which"),
        ({"messages": [], "system": "Be brief."}, "r has system, which is not read: write it as"),
    ],
)
def test_a_column_of_the_prompt_that_is_not_read_is_refused(row, words):
    with pytest.raises(DataError, match=words):
        messages_of(row, "r") or columns_of(row, "r")
    blank = {"system": "", "history": [], "context": None, "tools": "[]"}
    assert columns_of({"prompt": "A.", "response": "B."} | blank, "r") == ("A.", "B.")


def test_parts_of_a_content_are_joined():
    parts = [{"type": "text", "text": "Where does "}, "Ben live?"]
    found = messages_of({"messages": [{"role": "user", "content": parts}]}, "r")
    assert found == [{"role": "user", "content": "Where does Ben live?"}]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            {"role": "assistant", "content": None, "tool_calls": [{"type": "function"}]},
            r"r, message 1 has tool_calls, which is not read",
        ),
        ({"role": "assistant", "content": "A.", "reasoning_content": "B."}, "reasoning_content"),
        ({"role": "assistant", "content": None}, r"r, message 1 \(assistant\) has no text"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "a part of type image_url"),
        ({"role": "user", "content": [{"type": "text", "text": 3}]}, "a part that is no text"),
    ],
)
def test_what_is_wrong_with_a_message_is_said(message, words):
    with pytest.raises(DataError, match=words):
        messages_of({"messages": [message]}, "r")
    calls = {"role": "user", "content": "A.", "tool_calls": None}  # as parquet has them
    assert messages_of({"messages": [calls]}, "r") == [{"role": "user", "content": "A."}]


def test_marks_and_lines_of_other_programs_are_read(tmp_path):
    row = {"prompt": "Is it late?", "response": "It is late."}
    line = json.dumps(row) + "\n"
    for name, text in {
        "mark.jsonl": "\ufeff" + line,
        "lines.json": line * 2,
        "mark.json": "\ufeff" + json.dumps([row]),
        "mark.csv": "\ufeffprompt,response\r\nIs it late?,It is late.\r\n",
    }.items():
        (tmp_path / name).write_bytes(text.encode())
        assert Source.of(str(tmp_path / name)).rows()[0] == row, name


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "lines.json"])
def test_half_a_surrogate_is_told_with_its_row(tmp_path, name):
    rows = ['{"prompt": "A.", "response": "B."}', '{"prompt": "A.", "response": "B \\ud83d."}']
    text = f"[{', '.join(rows)}]" if name == "rows.json" else "\n".join(rows)
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        Source.of(str(tmp_path / name)).rows()
    said = str(caught.value)
    assert name in said and ("row 2" in said or "line 2" in said) and "half a surrogate" in said
    with pytest.raises(DataError, match="half a surrogate"):
        held_out.fidelity_rows(taid_data=str(tmp_path / name))


def test_system_messages_of_held_out_rows_are_counted(tmp_path):
    system = {"role": "system", "content": "Be brief."}
    turns = [{"role": "user", "content": "A."}, {"role": "assistant", "content": "B."}]
    rows = [{"messages": [system, *turns]}, {"messages": turns}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = held_out.fidelity_rows(taid_data=str(tmp_path / "rows.jsonl"))
    assert len(found.rows) == 2 and found.notes == {"system_messages_left_out": 1}
