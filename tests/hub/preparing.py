"""Done once for all commands: what each would do first, and what is no hub's to answer.

The hub's client waits, where it is refused, and asks again: it does so here without waiting.
Spec-Bench's file is on another site, whose place the server takes under another name.
"""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import harness_specdecode.data.prompts
import harness_specdecode.options
import huggingface_hub.file_download
import huggingface_hub.utils._http

SPEC_BENCH = (
    os.environ["HF_ENDPOINT"].replace("127.0.0.1", "localhost") + "/elsewhere/question.jsonl"
)

waiting = SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None})
for client in (huggingface_hub.utils._http, huggingface_hub.file_download):
    client.time = waiting
for module in (harness_specdecode.options, harness_specdecode.data.prompts):
    module.HUB = SPEC_BENCH
