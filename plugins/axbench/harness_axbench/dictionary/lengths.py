"""Whether the states a dictionary was learnt from are of like length, as the paper's methods take.

A difference of means weighs a token by its length, and a text's score is its highest token's: where
a few tokens are many times as long as the others, they decide both. The measure is

    largest ‖h‖ / median ‖h‖,   over the tokens of all concepts' training texts

DiffMean's AUROC on AxBench's Concept10 (2b, layer 10; standardised − as they are), and on the
testbed:

    SmolLM2-135M, block 22   1.4   −0.00        testbed's teacher, block 2   3.9   +0.02
    SmolLM2-135M, block 15   1.6   +0.01        Gemma-3-270M, block 13       5.6   +0.13
                                                SmolLM2-135M, block 7        8.0   +0.33
                                                Gemma-3-270M, block 9       11.9   +0.29

so that a ratio above 3 is told.
"""

from __future__ import annotations

import statistics

from harness_axbench.activations.normalising import STANDARDISE
from harness_axbench.dictionary.folder import Dictionary

ALIKE = 3.0
"""The largest ratio that is not told."""


def doubt(found: Dictionary) -> str | None:
    """What to say of methods that learnt from states of unlike length as they are; None if none."""
    told = {
        name: own
        for name in found.methods
        if (own := found.facts(name)).get("norm_median")
        and own.get("norm_largest")
        and not own.get("normalise")
    }
    if not told:
        return None
    facts = next(iter(told.values()))  # all learnt from the same states
    largest, median = max(facts["norm_largest"]), statistics.median(facts["norm_median"])
    if not largest > ALIKE * median:
        return None
    return (
        f"states of layer {found.layer} are of unlike length: the longest has {largest:,.0f}, the "
        f"median {median:,.0f}; {', '.join(told)} may detect better with --normalise {STANDARDISE}"
    )
