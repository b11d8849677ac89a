"""Folders of made data: they appear whole, are kept, or are refused with a reason."""

from __future__ import annotations

import doctest
import hashlib
import json
from pathlib import Path

import pytest

from harness.artefacts import recipes
from harness.artefacts.writing import appearing, check_writable
from harness.errors import ArtefactError, HarnessError

RECIPE = {"seed": 1, "writer": {"model": "w"}}


def make(folder: Path) -> dict[str, object]:
    with appearing(folder) as draft:
        (draft / "rows.txt").write_text("a\nb\n")
        return recipes.write_manifest(draft, "rows/1", RECIPE, {"rows": 2}, ["lm_eval"])


def test_a_folder_appears_with_its_manifest(tmp_path: Path) -> None:
    made = make(tmp_path / "deep" / "data")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["data"]
    assert json.loads((tmp_path / "deep" / "data" / recipes.MANIFEST).read_text()) == made
    expected = hashlib.sha256(b"a\nb\n").hexdigest()
    assert made["files"] == {"rows.txt": expected} and made["rows"] == 2
    assert recipes.kept(tmp_path / "deep" / "data", RECIPE) == made
    assert recipes.kept(tmp_path / "other", RECIPE) is None


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), appearing(tmp_path / "data") as draft:
        (draft / "rows.txt").write_text("a")
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_other_data_are_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make(folder)
    with pytest.raises(ArtefactError, match=r"holds other data \(they differ in: seed\)"):
        recipes.kept(folder, RECIPE | {"seed": 2})
    with pytest.raises(ArtefactError, match=r"they differ in: a b, seed\)"):
        recipes.kept(folder, {"writer": RECIPE["writer"], "a\nb": 1})
    words = recipes.Words(other="others ({unlike})", flags={"writer": "--judge"})
    changed = {"seed": 2, "writer": "b", "top_k": 1, "rows_sha256": "c"}
    said = r"others \(what --rows holds, --seed, --top-k, --judge\)"
    with pytest.raises(ArtefactError, match=said):
        recipes.kept(folder, changed, words=words)
    with pytest.raises(ArtefactError, match="data cannot be written"):
        make(folder)
    (folder / "rows.txt").write_text("a\n")
    with pytest.raises(ArtefactError, match=r"rows.txt is missing or was changed"):
        recipes.kept(folder, RECIPE)
    (folder / recipes.MANIFEST).write_text("[]")
    with pytest.raises(ArtefactError, match="is damaged"):
        recipes.kept(folder, RECIPE)
    (folder / recipes.MANIFEST).unlink()
    with pytest.raises(ArtefactError, match=r"has no generation\.json"):
        recipes.kept(folder, RECIPE)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"files": {"../rows.txt": "0"}}, "'../rows.txt' is no file of its folder"),
        ({"files": {"/etc/passwd": "0"}}, "'/etc/passwd' is no file of its folder"),
        ({"files": {"": "0"}}, "'' is no file of its folder"),
        ({"files": {"rows.txt": 3}}, r"rows\.txt: Input should be a valid string"),
        ({"files": ["rows.txt"]}, "Input should be a valid dictionary"),
        ({"recipe": ["seed"]}, "Input should be a valid dictionary"),
        ({"recipe": None}, "Input should be a valid dictionary"),
    ],
)
def test_a_manifest_of_anybodys_is_checked(
    tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    made = make(tmp_path / "data")
    path = tmp_path / "data" / recipes.MANIFEST
    path.write_text(json.dumps(made | changed))
    with pytest.raises(ArtefactError, match=words) as caught:
        recipes.kept(tmp_path / "data", RECIPE)
    assert "\n" not in str(caught.value)
    path.write_text("[" * 100_000)
    with pytest.raises(ArtefactError, match="nested too deeply"):
        recipes.kept(tmp_path / "data", RECIPE)


def test_a_manifest_of_another_form_is_kept_in_words_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "book"
    with appearing(folder) as draft:
        page = recipes.put(draft, "page.txt", b"a")
        own = {"recipe": RECIPE, "pages": [page]}
        (draft / "book.json").write_text(json.dumps(own))
    words = recipes.Words("is no book", "another book ({unlike})", "is gone", "was rewritten")

    def kept(recipe: dict[str, object]) -> object:
        files = lambda manifest: {p["file"]: p["sha256"] for p in manifest["pages"]}  # noqa: E731
        return recipes.kept(folder, recipe, name="book.json", words=words, files=files)

    assert kept(RECIPE) == own
    with pytest.raises(ArtefactError, match=r"holds another book \(seed\); choose another --out"):
        kept(RECIPE | {"seed": 2})
    (folder / "page.txt").write_text("b")
    with pytest.raises(ArtefactError, match=r"page.txt was rewritten$"):
        kept(RECIPE)
    (folder / "page.txt").unlink()
    with pytest.raises(ArtefactError, match=r"page.txt is gone$"):
        kept(RECIPE)
    (folder / "book.json").unlink()
    with pytest.raises(ArtefactError, match=r"exists and is no book; choose another --out"):
        kept(RECIPE)


def test_a_place_that_cannot_be_written_to_is_found_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"--out .*file is no folder"):
        check_writable(tmp_path / "file" / "data")
    check_writable(tmp_path / "new" / "data")


def test_numbers_in_five_characters() -> None:
    assert doctest.testmod(recipes).failed == 0
