"""Vectors from a stranger: files that lie, are larger than they look, or want code to run."""

from __future__ import annotations

import io
import json
import pickle  # noqa: TID251 -- only written here, to be refused
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary import kinds
from harness_axbench.exchange import control_vector, published, steer_file
from harness_axbench.exchange.formats import Options
from harness_axbench.exchange.importing import bring_in
from harness_axbench.exchange.pt_files import LARGEST_PICKLE, load_pt
from harness_axbench.exchange.shell import Shell
from pyarrow import parquet

from harness.errors import ArtefactError, HarnessError

WIDTH = 4
SHELL = Shell("tiny", None, None, WIDTH, "float32", ("layers.0", "layers.1"), 1, False)


def refused(path: Path, says: str, read: Callable[[Path], Any] = load_pt) -> None:
    with pytest.raises(ArtefactError, match=says) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def steer(path: Path, **changes: Any) -> Path:
    entry = {"steering_vector": torch.ones(WIDTH), "steering_coefficient": 2.0, "action": "add"}
    torch.save({"layers.1": entry | changes}, path)
    return path


def read_steer(path: Path) -> Any:
    return steer_file.read(path, Options(source=str(path), out=path / "out"), SHELL)


def repacked(path: Path, pickled: bytes, *, how: int = zipfile.ZIP_STORED, size: int = 64) -> Path:
    """A file as torch writes it, with another pickle in it, and one storage of zeros."""
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in {
            "data.pkl": pickled,
            "byteorder": b"little",
            "data/0": bytes(size),
            "version": b"3\n",
        }.items():
            archive.writestr(f"archive/{name}", content)
    return path


def one_tensor(size: tuple[int, ...], stride: tuple[int, ...], *, numbers: int = 16) -> bytes:
    """The pickle of a tensor of fp32 over the storage, written by hand."""

    def integer(value: int) -> bytes:
        return b"\x8a" + bytes([9]) + value.to_bytes(9, "little", signed=True)

    def integers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(integer, values)) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
    storage += b"X\x03\x00\x00\x00cpu" + integer(numbers) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    inner = storage + integer(0) + integers(size) + integers(stride) + b"\x89" + hooks
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + inner + b"tR."


def test_the_pickle_written_by_hand_is_read(tmp_path: Path) -> None:
    path = repacked(tmp_path / "a.pt", one_tensor((2, 3), (3, 1)))
    assert load_pt(path).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("size", "stride"),
    [
        ((2**40, 2**40), (1, 1)),
        ((2**63 - 1,), (1,)),
        ((-1,), (1,)),
        ((2, 3), (2**62, 2**62)),
        ((17,), (1,)),
        ((2**70,), (1,)),
    ],
)
def test_shapes_that_overflow(tmp_path: Path, size: Any, stride: Any) -> None:
    refused(repacked(tmp_path / "a.pt", one_tensor(size, stride)), "is damaged, truncated")


def test_a_tensor_that_repeats_a_few_numbers_takes_no_memory(tmp_path: Path) -> None:
    """4 GB · 2³⁰ of them, in a file of some hundred bytes."""
    huge = one_tensor((2**30, 2**30), (0, 0))
    folder = tmp_path / "l1"
    folder.mkdir()
    repacked(folder / "weight.pt", huge)
    with pytest.raises(ArtefactError, match="that repeats fewer numbers"):
        published._tensors("diffmean", folder / "weight.pt", 2**30, folder / "metadata.jsonl")
    vector = torch.ones(1).expand(2**34)
    refused(steer(tmp_path / "s.pt", steering_vector=vector), "repeats fewer num", read_steer)


def test_a_packed_file_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    pickled = one_tensor((2**22,), (1,), numbers=2**22)
    path = repacked(tmp_path / "a.pt", pickled, how=zipfile.ZIP_DEFLATED, size=2**24)
    assert path.stat().st_size < 2**16
    refused(path, "it is packed; torch.save packs nothing")


def called(name: str, argument: bytes) -> bytes:
    module, _, function = name.rpartition(".")
    return b"\x80\x02c" + f"{module}\n{function}\n".encode() + argument + b"\x85R."


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        (called("__builtin__.bytearray", b"\x8a\x06" + (2**40).to_bytes(6, "little")), "bytearray"),
        (called("os.mkdir", b"X\x01\x00\x00\x00p"), r"run code from the file \(os.mkdir\)"),
        (called("torch.Tensor", b"X\x01\x00\x00\x00p"), r"other tensors \(torch.Tensor\)"),
        (b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x01p\x85R.", "is refused"),
        (b"\x80\x02]" + b"]" * LARGEST_PICKLE + b".", "besides tensors it holds more"),
        (b"\x80\x02" + b"(" * 1000, "is damaged, truncated"),
        (b"", "is damaged, truncated"),
    ],
)
def test_pickles_that_want_more(tmp_path: Path, pickled: bytes, says: str) -> None:
    refused(repacked(tmp_path / "a.pt", pickled), says)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.eye(WIDTH).to_sparse(), "other tensors .*_rebuild_sparse_tensor"),
        (torch.ones(WIDTH, device="meta"), "other tensors .*_rebuild_meta_tensor"),
        (torch.ones(WIDTH, dtype=torch.complex64), "other tensors .*ComplexFloatStorage"),
        (torch.ones(WIDTH).to(torch.float8_e4m3fn), "other tensors .*_rebuild_tensor_v3"),
        ({1, 2}, "is refused"),
    ],
)
def test_tensors_of_other_kinds(tmp_path: Path, value: Any, says: str) -> None:
    refused(steer(tmp_path / "s.pt", steering_vector=value), says, read_steer)


def test_what_is_no_zip(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"PK\x03\x04 and no more")
    refused(path, "it is no zip")
    torch.save(torch.ones(3), path, _use_new_zipfile_serialization=False)
    refused(path, "files older than PyTorch 1.6 are to be saved anew")
    path.write_bytes(pickle.dumps({"layers.1": 1}))
    refused(path, "it is no zip")
    whole = steer(path).read_bytes()
    for cut in range(0, len(whole), 97):
        path.write_bytes(whole[:cut])
        refused(path, "is damaged, truncated", read_steer)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steering_coefficient": 10**400}, "steering_coefficient is a number"),
        ({"steering_coefficient": torch.ones(3)}, "steering_coefficient is a number"),
        ({"steering_coefficient": [1.0]}, "steering_coefficient is a number"),
        ({"steering_coefficient": 1e35}, r"not finite, or beyond ±1e\+30"),
        ({"action": 10**400}, "action of type int; lm-eval knows add and clamp"),
        ({"action": ["add"]}, "action of type list"),
        ({"action": "\x1b[2Jadd"}, r"action '\\x1b\[2Jadd'"),
        ({"steering_vector": torch.full((WIDTH,), torch.nan)}, "steering_vector holds values"),
        ({"steering_vector": [1.0] * WIDTH}, "one vector is needed, not list"),
    ],
)
def test_settings_of_a_steer_file(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    refused(steer(tmp_path / "s.pt", **changes), says, read_steer)


def test_hooks_of_other_types(tmp_path: Path) -> None:
    torch.save({10**400: {"action": "add"}}, tmp_path / "s.pt")
    refused(tmp_path / "s.pt", "hooks of type int, which is no decoder block", read_steer)
    torch.save({("layers.1",): {"action": "add"}}, tmp_path / "s.pt")
    refused(tmp_path / "s.pt", "hooks of type tuple", read_steer)
    torch.save({"layers.1": [{"action": "add"}]}, tmp_path / "s.pt")
    refused(tmp_path / "s.pt", "no entries by hook point", read_steer)


# GGUF, byte by byte


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def gguf(entries: list[bytes], tensors: list[bytes], numbers: bytes, counts: Any = None) -> bytes:
    n_tensors, n_entries = counts or (len(tensors), len(entries))
    head = b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_entries) + b"".join(entries + tensors)
    return head + bytes(-len(head) % 32) + numbers


KIND = text(b"general.architecture") + struct.pack("<I", 8) + text(b"controlvector")


def place(
    name: bytes = b"direction.1",
    sizes: tuple[int, ...] = (WIDTH,),
    kind: int = 0,
    offset: int = 0,
    dimensions: int | None = None,
) -> bytes:
    n = len(sizes) if dimensions is None else dimensions
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", n, *sizes, kind, offset)


def entry(kind: int, *rest: bytes) -> bytes:
    return text(b"a") + struct.pack("<I", kind) + b"".join(rest)


NUMBERS = struct.pack("<4f", 1, 2, 3, 4)


def read_gguf(path: Path) -> Any:
    return control_vector.read(path, Options(source=str(path), out=path / "out"))


def test_the_gguf_written_by_hand_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    more = [
        entry(9, struct.pack("<IQ3H", 2, 3, 1, 2, 3)),
        text(b"b") + struct.pack("<IIQ", 9, 8, 2) + text(b"x") + text(b""),
    ]
    path.write_bytes(gguf([KIND, *more], [place()], NUMBERS))
    assert read_gguf(path).methods["repeng"].tensors["weight"].tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    "content",
    [
        gguf([KIND], [place(sizes=(2**40,))], NUMBERS),
        gguf([KIND], [place(sizes=(2**32, 2**32))], NUMBERS),
        gguf([KIND], [place(sizes=(5,))], NUMBERS),
        gguf([KIND], [place(sizes=(0,))], NUMBERS),
        gguf([KIND], [place(offset=2**63)], NUMBERS),
        gguf([KIND], [place(kind=8)], NUMBERS),
        gguf([KIND], [place(kind=999)], NUMBERS),
        gguf([KIND], [place(dimensions=2**31)], NUMBERS),
        gguf([KIND], [place()], NUMBERS, (2**60, 1)),
        gguf([KIND], [place()], NUMBERS, (1, 2**60)),
        gguf([KIND, entry(9, struct.pack("<IQ", 0, 2**62))], [place()], NUMBERS),
        gguf([KIND, entry(9, struct.pack("<IQ", 8, 2**62))], [place()], NUMBERS),
        gguf([KIND, entry(9, struct.pack("<IQ", 9, 2**62))], [place()], NUMBERS),
        gguf([KIND, entry(8, struct.pack("<Q", 2**63))], [place()], NUMBERS),
        gguf([KIND, entry(77)], [place()], NUMBERS),
        gguf([KIND], [place()], NUMBERS[:-1]),
        b"GGUF" + struct.pack(">I", 3) + bytes(60),
        b"GGUF",
        b"",
    ],
)
def test_gguf_that_lies_or_ends_early(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    refused(path, "is damaged, truncated, or no GGUF file", read_gguf)


def test_a_large_gguf_is_no_control_vector(tmp_path: Path) -> None:
    with (tmp_path / "a.gguf").open("wb") as file:
        file.truncate(2**33)  # nothing on disk
    refused(tmp_path / "a.gguf", "more than 16,777,216 bytes", read_gguf)


# What lies beside


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("acts.json", "[" * 90_000, "acts.json is damaged: nested too deeply"),
        ("acts.json", '{"max_act": [1]}', "acts.json: max_act is damaged: Input should be"),
        ("acts.json", '{"0": 1e400}', "acts.json: max_act is damaged: 0: Input should be"),
        ("metadata.jsonl", '{"concept_id": 0, "concept": ["a"]}', "row 1 is damaged: concept: "),
        ("metadata.jsonl", '{"concept_id": -4, "concept": "a"}', "row 1 is damaged: concept_id: "),
        ("metadata.jsonl", '{"concept_id": 0, "concept": "a", "ref": {}}', "damaged: ref: "),
        (
            "metadata.jsonl",
            '{"concept_id": 0, "concept": "a", "concept_genres_map": {"a": 3}}',
            "concept_genres_map.a: Input should be a valid list",
        ),
    ],
)
def test_files_beside_a_weight(tmp_path: Path, name: str, content: str, says: str) -> None:
    folder = tmp_path / "l1"
    folder.mkdir()
    torch.save(torch.ones(1, WIDTH), folder / "weight.pt")
    (folder / "metadata.jsonl").write_text('{"concept_id": 0, "concept": "a"}')
    (folder / name).write_text(content)
    options = Options(source=str(folder), out=tmp_path / "out", method="reft_r1")
    refused(folder, says, lambda path: published.read(path, options))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_name": ["m"], "layer": 1}, "config.json is damaged: model_name: Input should be"),
        ({"model_name": "m", "layer": "deep"}, "config.json is damaged: layer: Input should be"),
        ({"model_name": "m", "layer": -1}, "config.json is damaged: layer: Input should be"),
    ],
)
def test_the_references_configuration(tmp_path: Path, config: object, says: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save(torch.ones(1, WIDTH), tmp_path / "DiffMean_weight.pt")
    refused(tmp_path, says, published.model_of)


def test_largest_values_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "latent_eval_data.parquet"
    table = {"concept_id": [1, 0, 1, 0], "P_max_act": [2.0, None, 9.5, -3.0]}
    parquet.write_table(pa.table(table), path, row_group_size=1)
    assert published._largest(path, "P_max_act") == {1: 9.5, 0: -3.0}
    parquet.write_table(pa.table(table | {"P_max_act": ["a"] * 4}), path)
    refused(path, "column P_max_act holds string", lambda p: published._largest(p, "P_max_act"))


# Models that a file names


@pytest.fixture
def planted(tmp_path: Path, llama: str) -> Path:
    """A model whose files want code of their own to be run, and to be asked about it."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in Path(llama).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "unheard_of",
        "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Config"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def named_by_a_dictionary(folder: Path, model: str) -> dictionary.Dictionary:
    facts = {"layer": 1, "prefix": 1, "chat": False}
    units = {"max_act": [1.0], "max_act_origin": ["eval"]}
    return dictionary.write(
        folder,
        recipe={},
        facts=facts | {"model": {"name": model, "hidden_size": 32}},
        concepts=(dictionary.Concept(0, "the sea", "text"),),
        methods={"ssv": dictionary.Entry(kinds.VECTORS, {"weight": torch.ones(1, 32)}, {}, units)},
    )


def export(found: dictionary.Dictionary, out: Path, hook: str | None = None) -> Path:
    return steer_file.write(found, method=None, concept=0, factor=1.0, out=out, hook=hook)


def test_code_of_a_model_that_a_file_names_is_not_run(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is anybody asked whether to: the answer would be waiting on standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\ny\n"))
    found = named_by_a_dictionary(tmp_path / "made", str(planted))
    with pytest.raises(HarnessError, match="cannot be loaded") as caught:
        export(found, tmp_path / "s.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "s.pt").exists()


@pytest.mark.parametrize(
    "name", ["http://evil.example/m", "file:///etc", "//evil.example/share", "\\\\evil\\share"]
)
def test_an_address_is_no_models_name(tmp_path: Path, name: str) -> None:
    found = named_by_a_dictionary(tmp_path / "made", name)
    with pytest.raises(HarnessError, match="an address is no model's name"):
        export(found, tmp_path / "s.pt")
    assert export(found, tmp_path / "s.pt", hook="layers.1").is_file()


def test_the_users_model_goes_before_a_files(tmp_path: Path, llama: str, planted: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_name": str(planted), "layer": 1}))
    torch.save(torch.ones(1, 32), folder / "DiffMean_weight.pt")
    (folder / "metadata.jsonl").write_text('{"concept_id": 0, "concept": "a"}')
    with pytest.raises(HarnessError, match="cannot be loaded"):
        bring_in(Options(source=str(folder), out=tmp_path / "out"))
    made = bring_in(Options(source=str(folder), out=tmp_path / "out", model=llama))
    assert made.manifest["model"]["name"] == llama
    assert not (tmp_path / "ran").exists()


def test_a_kernel_that_a_configuration_names_is_not_fetched(tmp_path: Path, llama: str) -> None:
    for file in Path(llama).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps(config | {"attn_implementation": "evil/kernel"})
    )
    assert Shell.load(str(tmp_path)).hidden_size == 32


def test_steering_loads_the_users_model_and_never_the_dictionarys(
    tmp_path: Path, llama: str, planted: Path
) -> None:
    from harness import compose

    found = named_by_a_dictionary(tmp_path / "made", str(planted))
    lm = compose("hf-steered")(llama, steering=str(found.folder), device="cpu", dtype="float32")
    assert lm.model.config.model_type == "llama"
    assert not (tmp_path / "ran").exists()
