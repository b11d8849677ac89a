"""Families of fact checkers: what a model is shown, and how its answers are put together.

A family is configuration: a template, the size of a chunk and its unit, and how the answers about
chunks and claim sentences become one. With P the probability that a chunk supports a claim,

    max    score(D, c) = max_i P(chunk_i, c)                      FactCG, MiniCheck
    min    score(D, c) = min_j max_i P(chunk_i, sentence_j(c))    MiniCheck's 7B model
    mean   score(D, c) = mean_j max_i P(chunk_i, sentence_j(c))   AlignScore

FactCG: Lei et al. 2025, arXiv 2501.17144. MiniCheck: Tang et al. 2024, arXiv 2404.10774.
AlignScore: Zha et al. 2023, arXiv 2305.16739.

    >>> find("minicheck", "seq2seq").chunk_size, find("minicheck", "classifier").chunk_size
    (500, 400)

Any family goes with any head: a classifier, an encoder-decoder that answers in its first decoder
step, or a causal language model that answers with the next token. A checkpoint's family is what its
``config.json`` says under ``fact_checker``, else that of the published repository of its name, else
FactCG.

Deviations: the questions are worded anew; a published checkpoint's own wording can be given as a
template. Chunks of MiniCheck and AlignScore are packed as FactCG's, so a paragraph's end within a
chunk becomes a space, which T5's and DeBERTa's tokens do not tell from a line break, and a sentence
longer than a chunk is split. MiniCheck's T5 counts what white space separates, as its authors do
(1.18 times as many word tokens on WiCE). AlignScore's chunks are greedy and of 350 word tokens; its
authors deal the sentences out to chunks of about so many words, in equal numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from harness import ArtefactError, HarnessError
from harness.artefacts.reading import ENCODING, fitting, read_bytes
from harness.errors import meant, one_line
from harness_factcg.checking.chunking import CHUNK_SIZE
from harness_factcg.checking.verdicts import QUESTION, Aggregation

Head = Literal["classifier", "seq2seq", "causal"]
Unit = Literal["words", "spaced", "tokens"]

CONFIG_KEY = "fact_checker"
"""Where a checkpoint's ``config.json`` names its family."""


@dataclass(frozen=True)
class Family:
    """How a kind of checkpoint is asked.

    ``template`` holds ``{document}`` once, ``{claim}``, and ``{sep}`` for the tokenizer's
    separator. ``chunk_size`` counts ``chunk_unit`` (``words``: word tokens; ``spaced``: what white
    space separates; ``tokens``: of the model); None leaves a document whole. ``joint`` stands
    between the sentences of a chunk. ``max_length`` is the most tokens of a prompt. ``no`` and
    ``yes`` are the answers of a model that is no classifier. ``aggregation`` other than ``max``
    splits a claim into its sentences.
    """

    name: str
    template: str
    head: Head = "classifier"
    chunk_size: int | None = CHUNK_SIZE
    chunk_unit: Unit = "words"
    joint: str = "\n"
    aggregation: Aggregation = "max"
    max_length: int = 2048
    no: str = "No"
    yes: str = "Yes"

    def __post_init__(self) -> None:
        """Refuse fields that make no family.

        Raises:
            HarnessError: Names the field and what it takes.
        """
        if self.template.count("{document}") != 1 or "{claim}" not in self.template:
            raise HarnessError(
                "a template needs {document} once and {claim}, as in '{document} Claim: {claim}'; "
                f"this one is {self.template[:80]!r}"
            )
        for name, kinds in (("head", Head), ("chunk_unit", Unit), ("aggregation", Aggregation)):
            if getattr(self, name) not in get_args(kinds):
                said = one_line(getattr(self, name), 80)
                raise HarnessError(f"{name}={said}: use one of {', '.join(get_args(kinds))}")
        for name in ("chunk_size", "max_length"):
            size = getattr(self, name)
            absent = size is None and name == "chunk_size"
            if not absent and (type(size) is not int or size < 1):
                raise HarnessError(f"{name}={size}: a whole number above 0 is needed")
        for name in ("no", "yes"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise HarnessError(f"{name}={getattr(self, name)!r}: an answer's word is needed")

    @property
    def splits_claims(self) -> bool:
        """Whether each sentence of a claim is judged on its own."""
        return self.aggregation != "max"

    def frame(self, claim: str) -> tuple[str, str]:
        """What stands before and after the document in the prompt of a claim."""
        before, after = self.template.split("{document}")
        return before.replace("{claim}", claim), after.replace("{claim}", claim)

    def prompt(self, document: str, claim: str) -> str:
        """A document (or a chunk of one) and a claim in the template."""
        before, after = self.frame(claim)
        return before + document + after

    def resolved(self, tokenizer: Any) -> Family:
        """The family with ``{sep}`` replaced by the tokenizer's separator.

        Raises:
            HarnessError: The template has one, and the tokenizer has none.
        """
        if "{sep}" not in self.template:
            return self
        sign = tokenizer.sep_token or tokenizer.eos_token
        if not sign:
            raise HarnessError(
                f"the template of family {self.name} has {{sep}}, but the tokenizer has neither a "
                "separator nor an end token: give another, template=FILE"
            )
        return replace(self, template=self.template.replace("{sep}", sign))

    def override(self, **options: Any) -> Family:
        """The family with other values for some of its fields; None leaves a field as it is.

        Raises:
            HarnessError: A value is out of range.
        """
        return replace(self, **{key: value for key, value in options.items() if value is not None})

    def differences(self, tokenizer: Any) -> dict[str, Any]:
        """The fields that are not as the family of this name has them for this tokenizer."""
        usual = asdict(find(self.name, self.head).resolved(tokenizer))
        return {key: value for key, value in asdict(self).items() if value != usual[key]}

    def to_config(self) -> dict[str, Any]:
        """What ``config.json`` keeps under ``fact_checker``: the family's name and its fields."""
        found = asdict(self)
        del found["head"]  # the architecture tells
        return {"family": found.pop("name"), **found}


_FACTCG = Family("factcg", "{document}" + QUESTION)
_MINICHECK = Family(
    "minicheck", "{document}{sep}{claim}", chunk_size=400, chunk_unit="tokens", joint=" "
)
_FAMILIES = {
    family.name: family
    for family in (
        _FACTCG,
        _MINICHECK,
        Family(
            "minicheck-7b",
            "{document}" + QUESTION,
            head="causal",
            chunk_size=None,
            joint=" ",
            aggregation="min",
            max_length=32768,
        ),
        Family(
            "alignscore",
            "{document}{sep}{sep}{claim}",
            chunk_size=350,
            joint=" ",
            aggregation="mean",
            max_length=512,
        ),
    )
}
_VARIANTS = {
    ("minicheck", "seq2seq"): replace(
        _MINICHECK,
        template="predict: {document}{sep}{claim}",
        chunk_size=500,
        chunk_unit="spaced",
        no="▁",  # its answer 0 begins with this token
        yes="▁1",
    )
}
_PUBLISHED = {
    "yaxili96/FactCG-DeBERTa-v3-Large": "factcg",
    "lytang/MiniCheck-Flan-T5-Large": "minicheck",
    "lytang/MiniCheck-DeBERTa-v3-Large": "minicheck",
    "lytang/MiniCheck-RoBERTa-Large": "minicheck",
    "bespokelabs/Bespoke-MiniCheck-7B": "minicheck-7b",
    "liuyanyi/AlignScore-base-hf": "alignscore",
    "liuyanyi/AlignScore-large-hf": "alignscore",
}
NAMES = tuple(_FAMILIES)


def find(name: str, head: Head | None = None) -> Family:
    """A family by its name.

    Args:
        name: One of ``NAMES``.
        head: The checkpoint's; by default the head that the family is known for.

    Raises:
        HarnessError: There is no such family.
    """
    if name not in _FAMILIES:
        raise HarnessError(f"family={one_line(name, 80)}: {meant(name, NAMES)}")
    family = _FAMILIES[name]
    head = head or family.head
    return replace(_VARIANTS.get((name, head), family), head=head)


def head_of(config: Any) -> Head:
    """The head that a checkpoint's architecture has; a classifier where it names none."""
    (architecture,) = (getattr(config, "architectures", None) or [""])[:1]
    if architecture.endswith("ForConditionalGeneration"):
        return "seq2seq"
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "causal"
    return "classifier"


def detect(config: Any, name: str) -> tuple[Family, str]:
    """The family of a checkpoint, and what tells it.

    Args:
        config: Its transformers configuration.
        name: Its name on the hub or its folder; a folder counts as the published repository whose
            name it bears.

    Raises:
        ArtefactError: What ``config.json`` says under ``fact_checker`` makes no family.
    """
    head = head_of(config)
    stated = getattr(config, CONFIG_KEY, None)
    if stated is not None:
        return _stated(stated, head, name), f"its config.json says so ({CONFIG_KEY})"
    last = name.rstrip("/").rpartition("/")[2]
    for repository, family in _PUBLISHED.items():
        if last.lower() == repository.rpartition("/")[2].lower():
            return find(family, head), f"it bears the name of {repository}"
    return find("factcg", head), f"nothing names another family (a {head})"


def _stated(stated: object, head: Head, name: str) -> Family:
    where = f"'{name}': {CONFIG_KEY} in its config.json"
    if not isinstance(stated, Mapping) or "family" not in stated:
        raise ArtefactError(f"{where} names no family")
    options = fitting(_Stated, stated, where, ArtefactError).model_dump(exclude_unset=True)
    try:
        return replace(find(options.pop("family"), head), **options)
    except HarnessError as cause:
        raise ArtefactError(f"{where}: {cause}") from cause


class _Stated(BaseModel):
    """What a checkpoint says of itself: texts and numbers, as ``Family.to_config`` writes them."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    family: str
    template: str = ""
    chunk_size: int | None = None
    chunk_unit: str = ""
    joint: str = ""
    aggregation: str = ""
    max_length: int = 0
    no: str = ""
    yes: str = ""


def options(
    *, template: str | Path | None, no: object, yes: object, **fields: Any
) -> dict[str, Any]:
    """Model arguments as ``Family.override`` takes them.

    Args:
        template: A template's file.
        no: The answer, in whatever type it came from the command line.
        yes: Likewise.
        **fields: Other fields of a family.

    Raises:
        HarnessError: The template's file cannot be read.
    """
    return {
        "template": None if template is None else read_template(template),
        "no": None if no is None else str(no),
        "yes": None if yes is None else str(yes),
        **fields,
    }


def read_template(path: str | Path) -> str:
    """A template from a text file, without the line break that ends the file.

    Raises:
        HarnessError: The file cannot be read.
    """
    file = Path(path).expanduser()
    try:
        return read_bytes(file).decode(ENCODING).removesuffix("\n")
    except (OSError, UnicodeDecodeError) as cause:
        reason = getattr(cause, "strerror", None) or "it is not UTF-8"
        raise HarnessError(f"template={path}: cannot read this file: {reason}") from cause
