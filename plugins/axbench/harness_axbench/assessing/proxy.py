"""The judge ``proxy``: ratings of steered responses without a call of any judge.

    --metadata '{"judge": {"model": "proxy"}}'

An lm-eval model like other judges, so that scopes, votes, rescoring and the leaderboard treat it as
one. It answers from the question's facts. The concept is rated by a classifier on its training rows
(``classifier``), relatedness and fluency by an unsteered model (``likelihoods``), which is loaded
beside the run's own. Equal input gives equal ratings. They are a stand-in for looking at methods
cheaply: what a judge would say they do not know, and they are not ranked with a judge's scores.

Among its ``model_args``: ``pretrained`` (by default the run's), ``revision``, ``dtype``,
``device``, ``batch_size``; and ``data``, ``subset`` and ``hub``, as ``axbench_data`` and its like
(by default the run's; a folder is to be named, because saved results could name any).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from harness import AssistantSpec, HarnessError, JudgeError
from harness.artefacts.checksums import fingerprint
from harness.models.checkpoints import place_of
from harness.testbed.assistants.rule_model import RuleModel
from harness_axbench.assessing.classifier import ConceptClassifiers
from harness_axbench.assessing.likelihoods import Likelihoods
from harness_axbench.data.concepts import ConceptData, load
from harness_axbench.metrics.ratings import CONCEPT, RELATEDNESS
from harness_axbench.options import HUB, SUBSET, RunOptions, run_options

PROXY = "proxy"
_LOADING = ("revision", "dtype")


def completed(spec: AssistantSpec, metadata: Mapping[str, Any], run: RunOptions) -> AssistantSpec:
    """The proxy that a run asks for, with the run's model and data where it names none.

    Args:
        spec: As the run names it.
        metadata: The run's metadata, which have the model's arguments.
        run: The run's options.

    Raises:
        JudgeError: Its model or data cannot be known.
    """
    args = dict(spec.model_args)
    if "pretrained" not in args:
        given = {key: metadata[key] for key in ("pretrained", *_LOADING) if metadata.get(key)}
        args = given | args
    if not args.get("pretrained"):
        raise JudgeError(
            "judge 'proxy' needs an unsteered model, and this run names none by pretrained=: "
            '{"model": "proxy", "model_args": {"pretrained": …}}'
        )
    if "data" not in args:
        if run.data.kind == "folder":
            raise JudgeError(
                "judge 'proxy' learns concepts from their training rows: name the folder of the "
                'data: {"model": "proxy", "model_args": {"data": "FOLDER"}}'
            )
        args["data"] = run.data.kind
        if run.data.kind == "hub":
            args = {"hub": run.hub, "subset": run.subset} | args
    return replace(spec, model_args=args)


class Proxy(RuleModel):
    """Rates a response by classifier and likelihoods.

    Args:
        pretrained: The unsteered model, as for lm-eval's ``hf``; or ``testbed:NAME``.
        data: Where the concepts' training rows are: ``hub``, ``testbed`` or a folder.
        subset: Subset of the hub's data set.
        hub: The data set on the hub.
        revision: Of the model.
        dtype: Of its weights.
        device: Where it runs; by default a GPU where there is one.
        batch_size: Texts a forward pass.
        options: What lm-eval passes to every model.

    Raises:
        HarnessError: No model is named.
    """

    title: ClassVar[str] = "judge 'proxy'"

    def __init__(
        self,
        pretrained: str = "",
        *,
        data: str = "hub",
        subset: str = SUBSET,
        hub: str = HUB,
        revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        batch_size: int | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not pretrained:
            raise HarnessError(f"{self.title} needs an unsteered model: pretrained=…")
        self._pretrained = pretrained
        self._run = run_options(
            {"axbench_data": data, "axbench_subset": subset, "axbench_hub": hub}
        )
        loading = {"revision": revision, "dtype": dtype, "device": device, "batch_size": batch_size}
        self._loading = {key: value for key, value in loading.items() if value is not None}

    @cached_property
    def _data(self) -> ConceptData:
        return load(self._run)

    @cached_property
    def _classifiers(self) -> ConceptClassifiers:
        return ConceptClassifiers(self._data)

    @cached_property
    def _likelihoods(self) -> Likelihoods:
        negatives = [row["input"] for row in self._data.train if row["category"] == "negative"]
        return Likelihoods(self._pretrained, negatives, **self._loading)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """``Rating: [[n]]`` for each request, with two decimals; or that it cannot tell.

        Raises:
            HarnessError: A request is of another task, or the model cannot be loaded.
        """
        docs = [request.doc for request in requests]
        for doc in docs:
            if not {"rating", "concept", "instruction", "response"} <= set(doc):
                raise HarnessError(f"{self.title} rates steered responses and nothing else")
        found: dict[int, float | None] = {}
        rated = {p: doc for p, doc in enumerate(docs) if doc["rating"] == CONCEPT}
        for concept in dict.fromkeys(doc["concept"] for doc in rated.values()):
            own = [place for place, doc in rated.items() if doc["concept"] == concept]
            texts = [docs[place]["response"] for place in own]
            found |= zip(own, self._classifiers.ratings(concept, texts), strict=True)
        found |= self._by_likelihood({p: doc for p, doc in enumerate(docs) if p not in found})
        return [_answer(found[place]) for place in range(len(docs))]

    def _by_likelihood(self, docs: Mapping[int, Mapping[str, Any]]) -> dict[int, float]:
        if not docs:
            return {}
        pairs = [(doc["instruction"], doc["response"]) for doc in docs.values()]
        both: Sequence[tuple[float, float]] = self._likelihoods.ratings(pairs)
        return {
            place: pair[0] if doc["rating"] == RELATEDNESS else pair[1]
            for (place, doc), pair in zip(docs.items(), both, strict=True)
        }

    def get_model_info(self) -> dict[str, str]:
        """What the results say of it: which weights the likelihoods are of."""
        content = fingerprint(place_of(self._pretrained))
        return {"judge": PROXY, "judge_version": self.version} | (
            {"model_sha": str(content)} if content else {}
        )


def _answer(rating: float | None) -> str:
    if rating is None:
        return "The concept's training rows do not tell it from others."
    return f"Rating: [[{rating:.2f}]]"
