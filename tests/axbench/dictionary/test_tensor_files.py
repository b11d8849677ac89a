"""Files of tensors that lie about what is in them, or are much larger than they look."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_axbench.dictionary.tensor_files import LARGEST_HEADER, SMALL, arrays, loaded
from harness_axbench.methods import autoencoder
from harness_axbench.methods.bow import BagOfWords

from harness.errors import ArtefactError


def npy(values: Any, **header: Any) -> bytes:
    """An array's file; entries of its header may be others than what is there."""
    file = BytesIO()
    array = np.asarray(values)
    about = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, about | {"shape": array.shape} | header)
    return file.getvalue() + array.tobytes()


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def test_arrays_are_read(tmp_path: Path) -> None:
    path = tmp_path / "params.npz"
    big = np.arange(6.0).reshape(2, 3).astype(">f8")
    np.savez_compressed(path, a=np.asfortranarray(big), b=np.ones(3, np.float16))
    found = loaded(path)
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["b"].tolist() == [1, 1, 1]
    with arrays(path) as known:
        assert {name: own.shape for name, own in known.items()} == {"a": (2, 3), "b": (3,)}


def test_a_small_file_of_a_large_array_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    size = 3 * SMALL
    path = zipped(tmp_path / "params.npz", W_enc=npy(np.zeros(size // 4, np.float32)))
    assert path.stat().st_size < size // 500
    tracemalloc.start()
    with pytest.raises(ArtefactError, match=f"{size:,} bytes once unpacked, in a file of"):
        autoencoder.load(str(path), "", "")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (npy(np.ones(3), shape=(10**12,)), "not as large as its header says"),
        (npy(np.ones(3), shape=(2**62, 4)), "not as large as its header says"),
        (npy(np.ones(3), shape=(-3,)), "not as large as its header says"),
        (npy(np.ones(3), shape=(2,)), "not as large as its header says"),
        (npy(np.ones(3), descr="|O"), "holds object, no real numbers"),
        (npy(np.ones(3), descr="<c16"), "holds complex128, no real numbers"),
        (npy(np.ones(3), descr="<U2"), "holds <U2, no real numbers"),
        (npy(np.ones(3), descr=[("a", "<f8")]), "no real numbers"),
        (npy(np.ones(3), shape="x"), "cannot be read as npz"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 100, "no array of version 1.0"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000, "cannot be read as npz"),
        (b"", "cannot be read as npz"),
    ],
)
def test_arrays_that_lie(tmp_path: Path, content: bytes, says: str) -> None:
    path = zipped(tmp_path / "params.npz", W_enc=content)
    with pytest.raises(ArtefactError, match=says) as caught:
        loaded(path)
    assert "\n" not in str(caught.value)


def test_an_array_of_objects_runs_nothing(tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "planted"),)

    np.savez(tmp_path / "params.npz", W_enc=np.array([Planted()], dtype=object))
    with pytest.raises(ArtefactError, match="holds object, no real numbers"):
        autoencoder.load(str(tmp_path / "params.npz"), "", "")
    assert not (tmp_path / "planted").exists()


def safetensors(path: Path, header: object, data: bytes, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def one(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | changes}


@pytest.mark.parametrize(
    ("header", "length", "says"),
    [
        (one(shape=[2**40, 2**40]), None, "cannot be read as safetensors"),
        (one(shape=[2, 3]), None, "cannot be read as safetensors"),
        (one(data_offsets=[0, 2**40], shape=[2**38]), None, "cannot be read as safetensors"),
        (one(data_offsets=[8, 24]), None, "cannot be read as safetensors"),
        (one(dtype="F8_E4M3", shape=[16]), None, "'w' is of F8_E4M3"),
        (one(dtype="PICKLE"), None, "cannot be read as safetensors"),
        (one(), 2**62, f"more than {LARGEST_HEADER:,}"),
        (one(), 2, "cannot be read as safetensors"),
        (b"[" * 5000, None, "cannot be read as safetensors"),
    ],
)
def test_headers_that_lie(tmp_path: Path, header: object, length: int | None, says: str) -> None:
    path = safetensors(tmp_path / "w.safetensors", header, bytes(16), length)
    with pytest.raises(ArtefactError, match=says) as caught:
        loaded(path)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.safetensors")
    with pytest.raises(ArtefactError, match="not a regular file"):
        loaded(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ([], "Input should be"),
        ({"architecture": ["x"]}, "architecture: Input should be a valid string"),
        ({"apply_b_dec_to_input": {}}, "apply_b_dec_to_input: Input should be a valid boolean"),
        ({"architecture": "topk"}, "architecture 'topk' .* is not supported"),
    ],
)
def test_an_autoencoders_configuration(tmp_path: Path, config: object, says: str) -> None:
    shapes = {"W_enc": (2, 3), "W_dec": (3, 2), "b_enc": (3,)}
    np.savez(tmp_path / "params.npz", **{name: np.ones(own) for name, own in shapes.items()})
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    with pytest.raises(ArtefactError, match=says):
        autoencoder.load(str(tmp_path), "", "")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"W_dec": np.ones((3, 3))}, r"W_dec has the shape \[3, 3\], not \[3, 2\]"),
        ({"b_enc": np.ones(())}, r"b_enc has the shape \[\]"),
        ({"W_enc": np.ones(3)}, r"W_enc has the shape \[3\]"),
        ({"b_enc": np.full(3, np.nan)}, "'b_enc' holds values that are not finite"),
        ({"W_dec": np.full((3, 2), 1e300)}, "'W_dec' holds values that are not finite"),
    ],
)
def test_an_autoencoders_arrays_go_together(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    made = {"W_enc": np.ones((2, 3)), "W_dec": np.ones((3, 2)), "b_enc": np.ones(3)} | changes
    np.savez(tmp_path / "params.npz", **made)
    with pytest.raises(ArtefactError, match=says):
        autoencoder.load(str(tmp_path), "", "")


@pytest.mark.parametrize("starts", [[0, 2, 0], [0, 3, 2], [1, 2, 3], [0, 2], [0, 2, 4], [-1, 2, 3]])
def test_a_bag_of_words_whose_rows_overlap_is_no_crash(starts: list[int]) -> None:
    """scipy takes the first of these for sound, and then reads beyond the end of memory."""
    tensors = {
        "values": torch.ones(3, dtype=torch.float64),
        "columns": torch.tensor([0, 1, 0]),
        "starts": torch.tensor(starts),
        "intercepts": torch.zeros(2, dtype=torch.float64),
    }
    with pytest.raises(ArtefactError, match="the rows of the coefficients do not begin where"):
        BagOfWords.load(tensors, {"vocabulary": ["sea", "reef"]})
