"""Looking into a dictionary: norms, neighbours, and files that are what the manifest says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from harness_axbench.commands import app
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary import inspection, kinds
from typer.testing import CliRunner

from harness.errors import ArtefactError, HarnessError

ROWS = torch.tensor([[3.0, 0.0], [1.0, 1.0], [0.0, 0.5], [-2.0, 0.0]])
TEXTS = ("=SUM(A1)", "the [bold]sea\x1b[2J", "bread", "loops")


@pytest.fixture
def found(tmp_path: Path) -> dictionary.Dictionary:
    acts = {"max_act": [4.0, 3.0, 2.0, 1.0], "max_act_origin": ["eval"] * 3 + ["missing"]}
    model = {"name": "tiny", "revision": None, "sha256": None, "hidden_size": 2, "dtype": "float32"}
    return dictionary.write(
        tmp_path / "made",
        recipe={},
        facts={"layer": 1, "model": model, "prefix": 1, "chat": False, "data": {"source": "mine"}},
        concepts=tuple(
            dictionary.Concept(10 + place, text, "text") for place, text in enumerate(TEXTS)
        ),
        methods={
            "diffmean": dictionary.Entry(kinds.VECTORS, {"weight": ROWS}, {}, acts),
            "bow": dictionary.Entry(
                kinds.TEXTS, {"values": torch.ones(2)}, {"vocabulary": ["a", "b"]}, {}
            ),
        },
    )


def test_norms_and_neighbours(found: dictionary.Dictionary) -> None:
    lines = inspection.vectors(found, neighbours=2)
    assert [line.norm for line in lines] == pytest.approx([3.0, 2**0.5, 0.5, 2.0])
    assert [line.max_act for line in lines] == [4.0, 3.0, 2.0, 1.0]
    half = 2**-0.5
    assert [(c.id, pytest.approx(v)) for c, v in lines[0].neighbours] == [(11, half), (12, 0.0)]
    assert {c.id for c, _ in lines[1].neighbours} == {10, 12}
    (one,) = inspection.vectors(found, concept=13, neighbours=9)
    assert [(c.id, pytest.approx(v, abs=1e-6)) for c, v in one.neighbours] == [
        (12, 0.0),
        (11, -half),
        (10, -1.0),
    ]
    assert inspection.vectors(found, neighbours=0)[0].neighbours == ()


def test_cosines_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(23, 5, generator=torch.Generator().manual_seed(2))
    whole = inspection.nearest(weight, range(23), 3)
    monkeypatch.setattr(inspection, "_CHUNK", 4)
    for ours, theirs in zip(inspection.nearest(weight, range(23), 3), whole, strict=True):
        assert [place for place, _ in ours] == [place for place, _ in theirs]
        assert [c for _, c in ours] == pytest.approx([c for _, c in theirs], abs=1e-6)
    assert [p for p, _ in inspection.nearest(weight, [7], 3)[0]] == [p for p, _ in whole[7]]
    cosine = torch.cosine_similarity(weight[7], weight, dim=1)
    cosine[7] = -2
    assert [place for place, _ in whole[7]] == cosine.topk(3).indices.tolist()
    assert inspection.nearest(weight[:1], [0], 3) == [[]]


def test_files_are_verified(found: dictionary.Dictionary) -> None:
    files = inspection.verified(found)
    assert [(file.method, file.name) for file in files] == [
        ("diffmean", "diffmean.safetensors"),
        ("bow", "bow.safetensors"),
        ("bow", "bow.json"),
    ]
    path = found.folder / "bow.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(ArtefactError, match=r"bow.json is damaged or was replaced"):
        inspection.verified(found)
    path.unlink()
    with pytest.raises(ArtefactError, match=r"bow.json is missing"):
        inspection.verified(found)


def test_what_is_not_there(found: dictionary.Dictionary) -> None:
    with pytest.raises(ArtefactError, match="no method 'pca' in it; it has diffmean, bow"):
        inspection.vectors(found, methods=["pca"])
    with pytest.raises(ArtefactError, match="bow has no vectors"):
        inspection.vectors(found, methods=["bow"])
    with pytest.raises(ArtefactError, match="no concept 1 in it"):
        inspection.vectors(found, concept=1)
    with pytest.raises(HarnessError, match="--neighbours"):
        inspection.vectors(found, neighbours=-1)


def test_csv(found: dictionary.Dictionary, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    inspection.write_csv(inspection.vectors(found, neighbours=1), out)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["concept_id"] for row in rows] == ["10", "11", "12", "13"]
    assert rows[0]["concept"] == "'=SUM(A1)"
    assert float(rows[1]["norm"]) == pytest.approx(2**0.5)
    assert (rows[2]["nearest_1"], rows[2]["max_act"]) == ("11", "2.0")


def test_the_command(found: dictionary.Dictionary, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["inspect", str(found.folder)], catch_exceptions=False)
    assert "tiny, layer 1, hidden size 2, float32" in shown.output
    assert "3 verified" in shown.output
    assert "diffmean (vectors), bow (texts)" in shown.output
    assert "the [bold]sea" in shown.output
    assert "\x1b" not in shown.output
    assert "3.000" in shown.output
    one = CliRunner().invoke(
        app, ["inspect", str(found.folder), "--concept", "12"], catch_exceptions=False
    )
    assert "bread" in one.output and "loops" not in one.output
    out = tmp_path / "rows.csv"
    CliRunner().invoke(
        app, ["inspect", str(found.folder), "--csv", str(out)], catch_exceptions=False
    )
    assert len(out.read_text().splitlines()) == 5


def test_long_tables_are_cut(found: dictionary.Dictionary) -> None:
    (table,) = inspection.tables(inspection.vectors(found), limit=1)
    assert table.row_count == 1
    assert "3 more" in str(table.caption)


def test_a_dictionary_of_texts_alone(found: dictionary.Dictionary) -> None:
    path = found.folder / "dictionary.json"
    manifest = json.loads(path.read_text())
    manifest["model"] = None
    del manifest["methods"]["diffmean"]
    path.write_text(json.dumps(manifest))
    alone = dictionary.read(found.folder)
    assert inspection.vectors(alone) == []
    assert "texts only" in "\n".join(inspection.summary(alone, inspection.verified(alone)))
