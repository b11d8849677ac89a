"""What a stranger's dictionary may say, and what is refused in one line that names the field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.commands import app
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary import inspection, kinds
from harness_axbench.dictionary.directions import Directions
from harness_axbench.methods.bow import BagOfWords
from harness_axbench.models.detection import text_method
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from harness.errors import ArtefactError

WIDTH = 4
CONCEPTS = tuple(dictionary.Concept(n, f"words of {n}", "text") for n in (0, 3))


def entries() -> dict[str, dictionary.Entry]:
    units = {"max_act": [3.0, 1.5], "max_act_origin": ["eval", "missing"], "activation": "relu"}
    words = BagOfWords._stored([{"sea": 0.5, "reef": 1.0}, {"sea": -0.5}], [0.1, 0.2])
    return {
        "ssv": dictionary.Entry(kinds.VECTORS, {"weight": torch.ones(2, WIDTH)}, {}, units),
        "bow": dictionary.Entry(kinds.TEXTS, words.tensors, words.values, {}),
    }


def write(folder: Path, **changes: Any) -> dictionary.Dictionary:
    model = {"name": "tiny", "hidden_size": WIDTH, "dtype": "float32"}
    facts = {"layer": 1, "model": model, "prefix": 1, "chat": False} | changes
    return dictionary.write(
        folder, recipe={"seed": 1}, facts=facts, concepts=CONCEPTS, methods=entries()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "made").folder


def change(folder: Path, place: str, value: Any) -> None:
    """Put a value at a place of the manifest, such as ``methods.ssv.kind``; … takes it away."""
    path = folder / dictionary.MANIFEST
    manifest = json.loads(path.read_text())
    *way, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    inner = manifest
    for part in way:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    path.write_text(json.dumps(manifest))


def sign(folder: Path, method: str, entry: str = "file") -> None:
    """Let the manifest have the checksum of what is there."""
    facts = json.loads((folder / dictionary.MANIFEST).read_text())["methods"][method]
    sha256 = hashlib.sha256((folder / facts[entry]).read_bytes()).hexdigest()
    change(
        folder, f"methods.{method}.{ {'file': 'sha256', 'values': 'values_sha256'}[entry] }", sha256
    )


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("layer", "1", "layer: Input should be a valid integer"),
        ("layer", True, "layer: Input should be a valid integer"),
        ("layer", 10**30, "layer: Input should be less than 65536"),
        ("layer", ..., "layer: Field required"),
        ("model", [], "model: Input should be"),
        ("model.hidden_size", 0, "model.hidden_size: Input should be greater"),
        ("model.hidden_size", 4.0, "model.hidden_size: Input should be a valid integer"),
        ("model.name", None, "model.name: Input should be a valid string"),
        ("model", None, "methods.ssv: vectors need a model and a layer"),
        ("prefix", -1, "prefix: Input should be greater"),
        ("chat", 1, "chat: Input should be a valid boolean"),
        ("recipe", [], "recipe: Input should be a valid dict"),
        ("concepts", {}, "concepts: Input should be a valid list"),
        ("concepts", [], "concepts: List should have at least 1 item"),
        ("concepts.1", "x", r"concepts.1: Input should be"),
        ("concepts.1.id", 0, "concepts: the id 0 is there more than once"),
        ("concepts.1.id", -1, "concepts.1.id: Input should be greater"),
        ("concepts.1.id", 2**32, "concepts.1.id: Input should be less"),
        ("concepts.0.text", ["a"], "concepts.0.text: Input should be a valid string"),
        ("concepts.0.genre", ..., "concepts.0.genre: Field required"),
        ("methods", {}, "methods: Dictionary should have at least 1 item"),
        ("methods", [], "methods: Input should be a valid dict"),
        ("methods.ssv", None, "methods.ssv: Input should be"),
        ("methods.ssv.kind", "steers", "methods.ssv.kind: Input should be 'vectors'"),
        ("methods.ssv.kind", [], "methods.ssv.kind: Input should be"),
        ("methods.ssv.file", ..., "methods.ssv: vectors need an entry 'file'"),
        ("methods.ssv.sha256", "0" * 63, "methods.ssv.sha256: String should match"),
        ("methods.ssv.max_act", [1.0], "methods.ssv.max_act: 1 entries for 2 concepts"),
        ("methods.ssv.max_act.1", "3", "methods.ssv.max_act.1: Input should be a valid number"),
        ("methods.ssv.max_act.1", float("nan"), "methods.ssv.max_act.1: Input should be"),
        ("methods.ssv.max_act.1", 10**400, "methods.ssv.max_act.1: Input should be"),
        ("methods.ssv.max_act_origin", "eval", "methods.ssv.max_act_origin: Input should be"),
        ("methods.ssv.factors", [True], "methods.ssv.factors.0: Input should be a valid number"),
        ("methods.ssv.activation", 3, "methods.ssv.activation: Input should be a valid string"),
        ("methods.ssv.settings", [], "methods.ssv.settings: Input should be a valid dict"),
        ("methods.bow.values_sha256", ..., "methods.bow: texts need an entry 'values_sha256'"),
        ("methods.bow.kind", "weights", "methods.bow: weights need an entry 'files'"),
        ("data", {"source": 3}, "data.source: Input should be a valid string"),
    ],
)
def test_a_wrong_field_is_named(folder: Path, place: str, value: Any, says: str) -> None:
    change(folder, place, value)
    with pytest.raises(ArtefactError, match=rf"dictionary\.json is damaged: {says}") as caught:
        dictionary.read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a\x1b[2J", "../up", "a/b", "", "[red]x[/]", "a" * 101])
def test_names_of_methods_are_plain(folder: Path, name: str) -> None:
    manifest = json.loads((folder / dictionary.MANIFEST).read_text())
    change(folder, "methods", {name: manifest["methods"]["ssv"]})
    with pytest.raises(ArtefactError, match=r"methods\..*String should match") as caught:
        dictionary.read(folder)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"format": ' * 50_000, "nested too deeply"),
        (b'{"layer": ' + b"9" * 5000 + b"}", "integer string conversion"),
        (b'{"a": "\\ud800"}', "half a surrogate pair"),
        (b"\xff\xfe{}", "no UTF-8 at byte 0"),
        (b"3", "not of the format"),
        (b"", "no valid JSON"),
    ],
)
def test_a_manifest_that_is_none(folder: Path, content: bytes, says: str) -> None:
    (folder / dictionary.MANIFEST).write_bytes(content)
    with pytest.raises(ArtefactError, match=says) as caught:
        dictionary.read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "a/../../secret", "x\x1b", "a\\b", "", "9" * 300]
)
def test_named_files_are_in_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes((folder / "ssv.safetensors").read_bytes())
    change(folder, "methods.ssv.file", name)
    found = dictionary.read(folder)
    for use in (found.weight, lambda _: list(found.verified())):
        with pytest.raises(ArtefactError, match=r"dictionary.json is damaged: .*file") as caught:
            use("ssv")
        assert str(caught.value).isprintable()
    with pytest.raises(ArtefactError, match="is damaged"):
        dictionary.kept(folder, {"seed": 1})


@pytest.mark.parametrize("name", ["ssv.safetensors", "dictionary.json", "below/x.safetensors"])
def test_links_out_of_the_folder_are_refused(folder: Path, name: str) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    path = folder / name
    if path.exists():
        path.rename(outside / path.name)
        path.symlink_to(outside / path.name)
    else:
        (folder / "ssv.safetensors").rename(outside / "x.safetensors")
        path.parent.symlink_to(outside)
        change(folder, "methods.ssv.file", name)
    with pytest.raises(ArtefactError, match="is a link out of its folder"):
        dictionary.read(folder).weight("ssv")


def test_a_link_to_the_folder_or_within_it_is_followed(folder: Path) -> None:
    (folder / "ssv.safetensors").rename(folder / "kept.safetensors")
    (folder / "ssv.safetensors").symlink_to("kept.safetensors")
    (folder.parent / "linked").symlink_to(folder)
    assert dictionary.read(folder.parent / "linked").weight("ssv").shape == (2, WIDTH)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"weight": torch.ones(2, WIDTH + 1)}, r"needs a tensor 'weight' of shape \[2, 4\]"),
        ({"weight": torch.ones(2)}, r"needs a tensor 'weight' of shape \[2, 4\]"),
        ({"weight": torch.ones(3, WIDTH)}, r"'weight' has the shape \[3, 4\], for 2 concepts"),
        ({"weight": torch.tensor(1.0)}, r"'weight' has the shape \[\], for 2 concepts"),
        ({"vectors": torch.ones(2, WIDTH)}, "needs a tensor 'weight'"),
        ({"weight": torch.full((2, WIDTH), torch.nan)}, "'weight' holds values that are not fin"),
        ({"weight": torch.full((2, WIDTH), 1e300, dtype=torch.float64)}, "holds values that are"),
        ({"weight": torch.ones(2, WIDTH, dtype=torch.bool)}, "'weight' is of BOOL"),
        ({"weight": torch.ones(2, WIDTH, dtype=torch.complex64)}, "'weight' is of C64"),
        ({"weight": torch.ones(2, WIDTH), "bias": torch.ones(2, 2)}, "'bias' has the shape"),
    ],
)
def test_tensors_are_as_the_manifest_says(
    folder: Path, tensors: dict[str, torch.Tensor], says: str
) -> None:
    save_file(tensors, folder / "ssv.safetensors")
    sign(folder, "ssv")
    with pytest.raises(ArtefactError, match=says) as caught:
        Directions.load(dictionary.read(folder), "ssv")
    assert "\n" not in str(caught.value)


def test_vectors_come_in_single_precision(folder: Path) -> None:
    save_file({"weight": torch.ones(2, WIDTH, dtype=torch.bfloat16)}, folder / "ssv.safetensors")
    sign(folder, "ssv")
    assert dictionary.read(folder).weight("ssv").dtype == torch.float32


def longer(name: str, value: float) -> Callable[[dict[str, Any]], None]:
    def apply(tensors: dict[str, Any]) -> None:
        tensors[name][-1] = value

    return apply


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (longer("columns", 2), "the coefficients do not go together"),
        (longer("columns", -1), "the coefficients do not go together"),
        (longer("starts", 9), "the rows of the coefficients do not begin"),
        (lambda t: t.update(intercepts=torch.ones(3).double()), "rows of the coefficients do not"),
        (lambda t: t.update(values=torch.ones(3)), "'values' of one dimension and torch.float64"),
        (lambda t: t.pop("starts"), "'starts' of one dimension"),
    ],
)
def test_words_go_with_their_coefficients(
    folder: Path, harm: Callable[[dict[str, Any]], None], says: str
) -> None:
    tensors = load_file(folder / "bow.safetensors")
    harm(tensors)
    save_file(tensors, folder / "bow.safetensors")
    sign(folder, "bow")
    with pytest.raises(ArtefactError, match=f"bow: .*{says}"):
        text_method(dictionary.read(folder), "bow")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([], "bow: the vocabulary is damaged"),
        ({"vocabulary": [1, 2]}, r"the vocabulary is damaged: vocabulary.0: Input should be a val"),
        ({"vocabulary": ["sea", "sea"]}, "has a word twice"),
        ({}, "vocabulary: Field required"),
    ],
)
def test_the_vocabulary_is_a_list_of_words(folder: Path, values: Any, says: str) -> None:
    (folder / "bow.json").write_text(json.dumps(values))
    sign(folder, "bow", "values")
    with pytest.raises(ArtefactError, match=says):
        text_method(dictionary.read(folder), "bow")


def test_a_method_of_another_kind(folder: Path) -> None:
    change(folder, "methods.ssv.kind", "texts")
    with pytest.raises(ArtefactError, match="ssv is said to score texts alone; it does not"):
        text_method(dictionary.read(folder), "ssv")
    with pytest.raises(ArtefactError, match="ssv needs an entry 'scaling' in the manifest"):
        dictionary.read(folder).fact("ssv", "scaling")


def test_what_cannot_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"dictionary.json is damaged: prefix"):
        write(tmp_path / "bad", prefix=-1)
    assert not list(tmp_path.iterdir())


HOSTILE = "sea\x1b]0;owned\x07\x9b2J\u202egnp\n  files    9 verified"


def test_nothing_steers_the_terminal(folder: Path) -> None:
    change(folder, "concepts.0.text", HOSTILE)
    change(folder, "model.name", HOSTILE)
    change(folder, "methods.ssv.max_act_origin", [HOSTILE, "eval"])
    found = dictionary.read(folder)
    lines = inspection.summary(found, inspection.verified(found))
    assert len(lines) == 5 and all(line.isprintable() for line in lines)
    shown = CliRunner().invoke(app, ["inspect", str(folder)], catch_exceptions=False).output
    assert all(line.isprintable() for line in shown.splitlines())
    assert "\\x1b]0;" in "".join(shown.split())
