"""Parts of a vLLM engine: which an engine asks for, and when they are called."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engine import parts, plugin, seams
from harness.engine.parts import Asked, parts_of
from harness.errors import HarnessError

pytestmark = [
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM, whose methods are followed"),
    pytest.mark.filterwarnings("ignore"),  # of vLLM's own imports
]


class Part:
    """Notes what it is called with."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def open(self, front: Any, settings: Any) -> None:
        self.seen.append(("open", front, dict(settings)))

    def attach(self, runner: Any, settings: Any) -> None:
        self.seen.append(("attach", runner, dict(settings)))

    def receive(self, body: Any, settings: Any) -> bool:
        raise AssertionError("there is no server")

    def admit(self, request: Any, settings: Any) -> bool:
        if request.sampling_params is None:
            raise HarnessError("no")
        request.cache_salt = "salted"
        self.seen.append(("admit", request, dict(settings)))
        return False


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Part:
    made = Part()
    provider = SimpleNamespace(of_kind=lambda kind: {"mine": "a.b:C"} if kind == "engine" else {})
    monkeypatch.setattr(parts, "plugins", lambda: (provider,))
    monkeypatch.setattr(
        parts, "import_module", lambda name: SimpleNamespace(C=lambda: made) if name == "a.b" else 0
    )
    parts._part.cache_clear()
    yield made
    parts._part.cache_clear()


def config(**given: Any) -> Any:
    return SimpleNamespace(additional_config={"paperharness": given} if given else {})


def test_an_engine_has_the_parts_it_asks_for(part: Part) -> None:
    assert parts_of(config()) == []
    assert parts_of(SimpleNamespace(additional_config=object())) == []  # vLLM allows any
    assert parts_of(config(mine={"a": 1})) == [Asked("mine", part, {"a": 1})]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"others": {}}, "no plugin provides the engine part others; there are: mine"),
        ({"mine": "DIR"}, "'paperharness' maps each part to its settings"),
    ],
)
def test_what_nobody_provides_is_refused(part: Part, given: dict[str, Any], words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        parts_of(config(**given))


def test_vllms_methods_get_their_step_once(part: Part) -> None:
    from vllm.v1.engine.input_processor import InputProcessor
    from vllm.v1.worker.worker_base import WorkerWrapperBase

    plugin.register()

    def steps() -> list[Any]:
        front, worker = InputProcessor, WorkerWrapperBase
        return [front.__init__, front.process_inputs, worker.load_model]

    once = steps()
    plugin.register()
    assert steps() == once
    calls: list[Any] = []
    wrapper = SimpleNamespace(
        vllm_config=config(mine={"a": 1}),
        worker=SimpleNamespace(
            model_runner="runner", load_model=lambda **given: calls.append(given)
        ),
    )
    WorkerWrapperBase.load_model(wrapper, load_dummy_weights=False)
    assert calls == [{"load_dummy_weights": False}]
    assert part.seen == [("attach", "runner", {"a": 1})]


def test_a_front_is_opened_after_vllm_has_made_it(part: Part) -> None:
    def stock(front: Any, config: Any) -> None:
        front.vllm_config = config

    init = plugin._opening(stock)
    front, idle = SimpleNamespace(), SimpleNamespace()
    init(front, config(mine={"a": 1}))
    init(idle, config())
    assert part.seen == [("open", front, {"a": 1})]


def test_requests_are_admitted_after_vllm_has_checked_them(part: Part) -> None:
    from vllm.exceptions import VLLMValidationError

    request = SimpleNamespace(sampling_params=object(), cache_salt=None)
    front = SimpleNamespace(vllm_config=config(mine={}))
    processed = plugin._processing(lambda _self, _id, _prompt: request)
    assert processed(front, "1", "text").cache_salt == "salted"
    request.sampling_params = None
    with pytest.raises(VLLMValidationError, match=r"^mine: no$"):  # which is status 400
        processed(front, "2", "text")
    idle = SimpleNamespace(vllm_config=config())
    assert processed(idle, "3", "text") is request


def test_a_vllm_whose_methods_have_moved_runs_without_parts_alone(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.v1.engine.input_processor import InputProcessor

    monkeypatch.delattr(InputProcessor, "process_inputs")
    plugin.register()
    try:
        front = plugin._processing(lambda _self: "request")
        assert front(SimpleNamespace(vllm_config=config())) == "request"
        with pytest.raises(HarnessError, match=r"has no InputProcessor.process_inputs, which"):
            front(SimpleNamespace(vllm_config=config(mine={})))
    finally:
        monkeypatch.undo()
        plugin.register()


def test_what_has_moved_in_vllm_is_named() -> None:
    runner = SimpleNamespace(input_batch=SimpleNamespace())
    with pytest.raises(HarnessError, match=r"has no SimpleNamespace.input_batch.req_ids, which"):
        seams.need(runner, "input_batch.req_ids")
    seams.need(runner, "input_batch")
