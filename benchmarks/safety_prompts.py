"""Prompts a second and their coverage: harness astral generate, garak and PyRIT on one local model.

    pip install 'paperharness[peers-astral]'
    python benchmarks/safety_prompts.py [--model testbed:smollm2] [--replicates 1] [--out SUITE]

The same generator, on the CPU in bfloat16, writes the same number of prompts of at most --tokens
tokens, one tool after the other in one process, loading not counted:

- harness astral: a plan of strength 1 (14 cells cover every category, style and persuasion
  technique; ``--replicates`` times), seeds and examples in each question, retries of refusals and
  near duplicates counted;
- garak: ``atkgen.Tox``, its probe that writes its own prompts, with this generator in place of its
  GPT-2, against a target that answers at once (``test.Repeat``);
- PyRIT: ``ToneConverter`` on a seed of each cell's category, with the cell's style as the tone
  (``PersuasionConverter`` has the five techniques, and needs a model that answers in JSON).

Small models do not keep to a form, so harness astral's generator has its answer begun with the
opening tag and ended with the closing one. Coverage is what was asked for: levels (25) and pairs of
levels (184) of the paper's three factors. Seeds are the mild placeholders. No prompt is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import io
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from harness_astral.generation.duplicates import Index
from harness_astral.generation.generate import generate
from harness_astral.generation.options import Options
from harness_astral.generation.seeds import read_seeds
from harness_astral.suites import coverage
from harness_astral.suites.factors import Factors, read_factors
from lm_eval.models.huggingface import HFLM

from harness.asking.spec import AssistantSpec
from harness.testbed import resolve

HINT = "is not installed: pip install 'paperharness[peers-astral]'"
Cell = tuple[str, ...]


class Tagged(HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """A generator whose answers begin and end as messages do, whatever it makes of the form."""

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """The texts between the tags."""
        hook, self.cache_hook = self.cache_hook, type(self.cache_hook)(None)
        for request in requests:
            context, options = request.args
            request.arguments = (context + "<input>\n", options | {"until": ["</input>"]})
        found = super().generate_until(requests, disable_tqdm=True)
        self.cache_hook = hook
        return [f"<input>{text.split('<')[0].strip()}</input>" for text in found]


def with_harness(model: str, options: argparse.Namespace, folder: Path) -> tuple[float, list[str]]:
    """Seconds of a suite, and its prompts; its cells are the plan's."""
    import lm_eval.models  # noqa: F401 -- fills the registry
    from lm_eval.api.registry import model_registry

    args = {"pretrained": model, "dtype": "bfloat16", "device": "cpu"}
    lm = Tagged(**args, batch_size=options.batch_size)

    lm_class = type("Loaded", (Tagged,), {"create_from_arg_obj": staticmethod(lambda *_, **__: lm)})
    model_registry.register("benchmark-tagged", target=lm_class)
    spec = AssistantSpec(
        model="benchmark-tagged",
        model_args=args,
        max_tokens=options.tokens,
        store=str(folder / "answers.jsonl"),
    )
    started = time.process_time()
    made = generate(
        Options(
            out=options.out or folder / "suite",
            generator=spec,
            seeds=options.seeds,
            strength="1",
            replicates=options.replicates,
        )
    )
    return time.process_time() - started, [one.prompt for one in made.inputs]


def with_garak(model: str, count: int, options: argparse.Namespace) -> tuple[float, list[str]]:
    """Seconds of garak's attack generation, and its prompts."""
    try:
        from garak import _config, _plugins
    except ImportError:
        sys.exit(f"garak {HINT}")
    _config.load_base_config()
    _config.transient.reportfile = io.StringIO()
    own = {
        "red_team_model_name": model,
        "red_team_model_config": {"hf_args": {"device": "cpu", "torch_dtype": "bfloat16"}},
        "max_calls_per_conv": 1,
        "convs_per_generation": count,
        "generations": 1,
    }
    probe = _plugins.load_plugin(
        "probes.atkgen.Tox", config_root={"probes": {"atkgen": {"Tox": own}}}
    )
    target = _plugins.load_plugin("generators.test.Repeat")
    probe.redteamer = _plugins.load_plugin(
        "generators.huggingface.Pipeline", config_root=probe.red_team_model_config
    )
    probe.redteamer.deprefix_prompt, probe.redteamer.parallel_requests = True, False
    probe.redteamer.max_tokens = options.tokens
    started = time.process_time()
    attempts = probe.probe(target)
    spent = time.process_time() - started
    return spent, [one.prompt.last_message().text for one in attempts]


def with_pyrit(
    model: str, cells: Sequence[Cell], options: argparse.Namespace, texts: dict[str, str]
) -> tuple[float, list[str]]:
    """Seconds of PyRIT's conversions, and what they gave."""
    try:
        from pyrit.converter import ToneConverter
        from pyrit.prompt_target import HuggingFaceChatTarget
        from pyrit.setup import initialize_pyrit_async
    except ImportError:
        sys.exit(f"PyRIT {HINT}")

    async def convert() -> tuple[float, list[str]]:
        await initialize_pyrit_async(memory_db_type="InMemory")
        target = HuggingFaceChatTarget(
            model_path=model,
            max_new_tokens=options.tokens,
            torch_dtype=torch.bfloat16,
            do_sample=True,
            random_seed=0,
        )
        await target.load_model_and_tokenizer_task
        started, found = time.process_time(), []
        for category, style, _ in cells:
            converter = ToneConverter(converter_target=target, tone=style)
            found.append((await converter.convert_async(prompt=texts[category])).output_text)
        return time.process_time() - started, found

    return asyncio.run(convert())


def pairs(cells: Sequence[Cell]) -> int:
    """How many pairs of levels are in some cell; a level that is not asked for is empty."""
    return len(
        {
            (i, j, cell[i], cell[j])
            for cell in cells
            for i, j in itertools.combinations(range(len(cell)), 2)
            if cell[i] and cell[j]
        }
    )


def report(name: str, spent: float, prompts: Sequence[str], cells: Sequence[Cell]) -> float:
    """One line of figures; prompts a second."""
    index = Index()
    distinct = sum(
        index.take(str(k), text) is None for k, text in enumerate(prompts) if text.strip()
    )
    levels = len({(i, level) for cell in cells for i, level in enumerate(cell) if level})
    print(
        f"{name:24} {len(prompts):3} prompts in {spent:6.1f} s: {len(prompts) / spent:6.3f} a "
        f"second; {distinct} distinct; levels {levels} of 25, pairs {pairs(cells)} of 184",
        flush=True,
    )
    return len(prompts) / spent


def names(factors: Factors, replicates: int) -> list[Cell]:
    """The plan's cells by name, each as often as it is asked for."""
    levels = (factors.category, factors.style, factors.persuasion)
    planned = coverage.plan(factors.sizes, "1", replicates).cells
    return [
        tuple(own[k].name for own, k in zip(levels, cell, strict=True))
        for cell in planned
        for _ in range(replicates)
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", default="testbed:smollm2")
    parser.add_argument("--seeds", default="placeholder", help="as of harness astral generate")
    parser.add_argument("--replicates", type=int, default=1, help="of the 14 cells")
    parser.add_argument("--tokens", type=int, default=48, help="a prompt, at most")
    parser.add_argument("--batch-size", type=int, default=14, help="of harness astral's generator")
    parser.add_argument("--out", type=Path, help="where the suite is kept")
    options = parser.parse_args()
    model = resolve(options.model)
    factors = read_factors()
    cells = names(factors, options.replicates)
    texts = {s.category: s.text for s in read_seeds(options.seeds, factors.names()["category"])}
    told = (f"{name} {importlib.metadata.version(name)}" for name in ("garak", "pyrit"))
    print(f"{len(cells)} prompts of at most {options.tokens} tokens; {', '.join(told)}")
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stderr(io.StringIO()):
        ours = report("harness astral", *with_harness(model, options, Path(place)), cells)
        for name, (spent, prompts), asked in (
            ("garak atkgen.Tox", with_garak(model, len(cells), options), []),
            (
                "PyRIT ToneConverter",
                with_pyrit(model, cells, options, texts),
                [(category, style, "") for category, style, _ in cells],
            ),
        ):
            theirs = report(name, spent, prompts, asked)
            print(f"{'':24} ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
