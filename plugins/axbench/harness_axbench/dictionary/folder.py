"""A steering dictionary on disk: one folder, one vector a concept for each method.

``dictionary.json`` says what the vectors belong to (model, layer, prefix, data, versions), names
the concepts, and holds for each method its kind (see ``kinds``), settings, and max_act per
concept with where it came from. Beside it lies ``<method>.safetensors``: for vectors ``weight``
[concepts, hidden], fp32, and where they differ from the plain case ``encoder``, ``bias`` and
``threshold`` (see ``directions``); for the bag of words sparse coefficients, with the vocabulary in
``<method>.json``; for whole models ``<method>/<concept id>.safetensors`` instead. The manifest
holds the SHA-256 of each file, so the hash of the manifest is the hash of the whole. ``manifest``
has its schema; the files that it names are regular ones in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import ArtefactError
from harness.artefacts import recipes
from harness.artefacts.checksums import digest
from harness.artefacts.reading import loads, read_json
from harness.artefacts.recipes import Words, check, inside, put, take
from harness.artefacts.writing import appearing, write_text
from harness.errors import meant
from harness_axbench.data.concepts import Concept
from harness_axbench.dictionary.kinds import TEXTS, VECTORS, WEIGHTS
from harness_axbench.dictionary.manifest import FORMAT, checked
from harness_axbench.dictionary.tensor_files import loaded

if TYPE_CHECKING:
    from torch import Tensor


MANIFEST = "dictionary.json"
_LIBRARIES = ("torch", "transformers", "scikit-learn", "numpy")
_WORDS = Words(
    unknown="is no dictionary",
    other="another dictionary (it differs in: {unlike})",
    missing="is missing; remove its folder and train again",
    changed="is damaged or was replaced (its SHA-256 is not the one in the manifest); remove its "
    "folder and train again",
    flags={
        "numerics": "this version's numerics",
        "settings": "--set",
        "imported": "--format",
        "files": "the files of --from",
        "concepts": "the concepts of --from",
    },
)


@dataclass(frozen=True)
class Entry:
    """What one method leaves in a dictionary.

    Attributes:
        kind: ``vectors``, ``texts``, ``heads``, ``adapters`` or ``weights``.
        tensors: For the method's safetensors file.
        values: For the method's JSON file; none is written where it is empty.
        facts: For the manifest.
        files: Of ``weights``: a finished safetensors file for each concept id that it covers.
    """

    kind: str
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]
    facts: Mapping[str, Any]
    files: Mapping[int, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Dictionary:
    """A dictionary that has been opened: its manifest is read, its tensors are not."""

    folder: Path
    sha256: str
    manifest: Mapping[str, Any]
    concepts: tuple[Concept, ...]

    @property
    def methods(self) -> list[str]:
        """Names of the methods in it."""
        return list(self.manifest["methods"])

    @property
    def layer(self) -> int:
        """The block whose output the vectors live in, 0-indexed."""
        return int(self.manifest["layer"])

    def facts(self, method: str) -> Mapping[str, Any]:
        """What the manifest says of a method.

        Raises:
            ArtefactError: The dictionary does not have the method.
        """
        found: Mapping[str, Any] | None = self.manifest["methods"].get(method)
        if found is None:
            rest = meant(method, self.methods, "it has")
            raise ArtefactError(f"{self.folder}: no method {method!r} in it; {rest}")
        return found

    def place(self, concept_id: int) -> int:
        """The row of a concept.

        Raises:
            ArtefactError: The dictionary does not have the concept.
        """
        if concept_id not in self._places:
            raise ArtefactError(
                f"{self.folder}: no concept {concept_id} in it; it has {len(self._places)}, "
                f"{min(self._places)} … {max(self._places)}"
            )
        return self._places[concept_id]

    @cached_property
    def _places(self) -> dict[int, int]:
        return {concept.id: place for place, concept in enumerate(self.concepts)}

    def fact(self, method: str, name: str) -> Any:
        """A thing that the manifest has to say of a method.

        Raises:
            ArtefactError: It does not.
        """
        found = self.facts(method).get(name)
        if found is None:
            raise ArtefactError(f"{self.folder}: {method} needs an entry '{name}' in the manifest")
        return found

    def unit(self, method: str, place: int) -> float:
        """max_act of the concept in a row; 1 where the method has none."""
        units = self.facts(method).get("max_act")
        return float(units[place]) if units else 1.0

    def tensors(self, method: str) -> dict[str, Tensor]:
        """A method's tensors: finite, and but for ``texts`` in fp32.

        Raises:
            ArtefactError: The file is missing, damaged or not the one the manifest means.
        """
        kind = self.facts(method)["kind"]
        if kind == WEIGHTS:
            raise ArtefactError(f"{self.folder}: {method} has a file a concept, and none for all")
        path = self._file(method, "file", "sha256")
        if kind == TEXTS:
            return loaded(path)
        return {name: own.float() for name, own in loaded(path, len(self.concepts)).items()}

    def vectors(self, method: str) -> dict[str, Tensor]:
        """The tensors of a method of the kind ``vectors``: ``weight`` [concepts, hidden] and more.

        Raises:
            ArtefactError: As ``tensors``; or the method has no vectors, or of another shape.
        """
        if self.facts(method)["kind"] != VECTORS:
            raise ArtefactError(f"{self.folder}: {method} has no vectors")
        found = self.tensors(method)
        shape = (len(self.concepts), int(self.manifest["model"]["hidden_size"]))
        if "weight" not in found or tuple(found["weight"].shape) != shape:
            raise ArtefactError(
                f"{self.folder}: {method} needs a tensor 'weight' of shape {list(shape)}"
            )
        return found

    def weight(self, method: str) -> Tensor:
        """The vectors [concepts, hidden] of a method, in fp32.

        Raises:
            ArtefactError: As ``vectors``.
        """
        return self.vectors(method)["weight"]

    def values(self, method: str) -> Any:
        """What a method keeps in its JSON file.

        Raises:
            ArtefactError: The file is missing, damaged or not the one the manifest means.
        """
        return read_json(self._file(method, "values", "values_sha256"))

    def parameters(self, method: str, concept_id: int) -> dict[str, Tensor]:
        """A concept's own parameters of the model, by name, of a method of the kind ``weights``.

        Raises:
            ArtefactError: The method does not cover the concept, or the file is missing, damaged
                or not the one the manifest means.
        """
        self.check_covers(method, concept_id)
        own = self.facts(method)["files"][str(concept_id)]
        path = inside(self.folder, own["file"], self.folder / MANIFEST)
        check(path, own["sha256"], _WORDS)
        return loaded(path)

    def covered(self, method: str) -> tuple[int, ...]:
        """The ids of the concepts that a method can steer towards, in the dictionary's order."""
        files = self.facts(method).get("files")
        numbers = (concept.id for concept in self.concepts)
        return tuple(n for n in numbers if files is None or str(n) in files)

    def check_covers(self, method: str, concept_id: int) -> None:
        """Refuse a concept that a method of the kind ``weights`` was not trained for.

        Raises:
            ArtefactError: It was not.
        """
        files = self.facts(method).get("files")
        if files is not None and str(concept_id) not in files:
            raise ArtefactError(
                f"{self.folder}: {method} was trained for the concepts {', '.join(files)}, not for "
                f"{concept_id}; train more of them with --set {method}.concepts=NUMBER"
            )

    def verified(self) -> Iterator[tuple[str, Path]]:
        """Every file with its method, each read once and compared with the manifest.

        Raises:
            ArtefactError: One is missing, damaged or not the one the manifest means.
        """
        for method in self.methods:
            for name, sha256 in _files(self.facts(method)).items():
                path = inside(self.folder, name, self.folder / MANIFEST)
                check(path, sha256, _WORDS)
                yield method, path

    def _file(self, method: str, file: str, checksum: str) -> Path:
        path = inside(self.folder, self.fact(method, file), self.folder / MANIFEST)
        check(path, self.fact(method, checksum), _WORDS)
        return path

    def check_fits(self, *, hidden_size: int, n_layers: int) -> None:
        """Refuse a model that the vectors do not fit.

        Raises:
            ArtefactError: The model has another width, or no such layer.
        """
        own = self.manifest["model"]
        if own["hidden_size"] != hidden_size:
            raise ArtefactError(
                f"{self.folder} is for {own['name']} (hidden size {own['hidden_size']}); this "
                f"model's hidden size is {hidden_size}"
            )
        if self.layer >= n_layers:
            raise ArtefactError(
                f"{self.folder} steers layer {self.layer} of {own['name']}; this model has the "
                f"layers 0 … {n_layers - 1}"
            )


def read(folder: str | Path) -> Dictionary:
    """Open a dictionary.

    Raises:
        ArtefactError: It is missing, damaged, of another format, or a field is missing or wrong.
    """
    path = Path(folder).expanduser() / MANIFEST
    if not path.is_file():
        lacks = f"no {MANIFEST} there" if path.parent.is_dir() else "there is no such folder"
        raise ArtefactError(
            f"{folder}: {lacks}; make a dictionary with: harness axbench train "
            f"--model MODEL --layer LAYER --out {folder}"
        )
    manifest, typed = checked(read_json(inside(path.parent, MANIFEST, path)), path)
    concepts = tuple(Concept(own.id, own.text, own.genre, own.ref) for own in typed.concepts)
    return Dictionary(path.parent, digest(path), manifest, concepts)


def write(
    folder: Path,
    *,
    recipe: Mapping[str, Any],
    facts: Mapping[str, Any],
    concepts: tuple[Concept, ...],
    methods: Mapping[str, Entry],
) -> Dictionary:
    """Write a dictionary; the folder appears by one rename, whole or not at all.

    Args:
        folder: Where; must not exist.
        recipe: What the content follows from: equal recipes, equal dictionaries.
        facts: Further entries of the manifest (layer, model, prefix, chat, …).
        concepts: The concepts, in the order of the vectors.
        methods: What each method leaves.

    Raises:
        ArtefactError: The folder has appeared meanwhile, or cannot be written.
    """
    from safetensors.torch import save

    with appearing(folder) as draft:
        entries: dict[str, Any] = {}
        for name, entry in methods.items():
            tensors = {key: value.contiguous() for key, value in entry.tensors.items()}
            entries[name] = {"kind": entry.kind, **entry.facts}
            if entry.kind == WEIGHTS:
                entries[name]["files"] = take(draft, name, entry.files)
            else:
                entries[name] |= put(draft, f"{name}.safetensors", save(tensors))
            if entry.values:
                values = json.dumps(entry.values, ensure_ascii=False).encode()
                entries[name] |= put(draft, f"{name}.json", values, "values")
        manifest = {"format": FORMAT, **facts, "methods": entries, "recipe": dict(recipe)}
        named = [{k: v for k, v in asdict(c).items() if v or k != "ref"} for c in concepts]
        manifest |= {"concepts": named, "versions": recipes.versions(_LIBRARIES)}
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        checked(loads(text), folder / MANIFEST)  # what cannot be read is not left behind
        write_text(draft / MANIFEST, text)
    return read(folder)


def kept(folder: Path, recipe: Mapping[str, Any]) -> Dictionary | None:
    """The dictionary already in a folder, if it is the one the recipe makes.

    Raises:
        ArtefactError: Something else is there; the message says in what it differs.
    """
    found = read(folder) if (folder / MANIFEST).is_file() else None
    recipes.kept(folder, recipe, name=MANIFEST, words=_WORDS, files=_all_files)
    return found


def _files(facts: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of each file of a method, by its place."""
    found = {own["file"]: own["sha256"] for own in (facts.get("files") or {}).values()}
    for file, checksum in (("file", "sha256"), ("values", "values_sha256")):
        if facts.get(file) is not None:
            found[facts[file]] = facts[checksum]
    return found


def _all_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    methods = manifest["methods"].values()
    return {file: sha256 for facts in methods for file, sha256 in _files(facts).items()}
