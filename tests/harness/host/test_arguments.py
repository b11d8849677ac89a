"""``--model_args`` that are misspelt, and models that are not where they are said to be."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from peft import PeftModel
from transformers import PreTrainedModel

from harness import HarnessError, compose
from harness.host import arguments
from harness.testbed import model_path

pytestmark = pytest.mark.long

SteeredHF = compose("hf-steered")
SpeculativeHF = compose("hf-speculative")
DistilledHF = compose("hf-distilled")

WRAPPERS = (SteeredHF, SpeculativeHF, DistilledHF)


@pytest.mark.parametrize(
    ("kind", "given", "meant"),
    [
        (SteeredHF, "steerng", "steering"),
        (SteeredHF, "positons", "positions"),
        (SpeculativeHF, "draftr", "drafter"),
        (DistilledHF, "techer", "teacher"),
    ],
)
def test_a_misspelt_argument_is_told_before_a_model_is_loaded(
    kind: type, given: str, meant: str
) -> None:
    said = rf"^--model_args {given}=…: there is no such argument; did you mean {meant}\?$"
    with pytest.raises(HarnessError, match=said):
        kind.create_from_arg_string(f"pretrained=no/model,{given}=x")  # type: ignore[attr-defined]
    with pytest.raises(HarnessError, match=said):
        kind.create_from_arg_obj({"pretrained": "no/model", given: "x"})  # type: ignore[attr-defined]


def test_what_lm_eval_transformers_and_vllm_know_is_let_pass() -> None:
    given = {*inspect.signature(HFLM.__init__).parameters} - {"self", "kwargs", "pretrained"}
    given |= {*inspect.signature(PreTrainedModel.from_pretrained).parameters}
    given |= {"attn_implementation", "low_cpu_mem_usage", "torch_dtype", "device_map", "use_cache"}
    for kind in WRAPPERS:
        assert arguments.read(kind, dict.fromkeys(given)) == dict.fromkeys(given)


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_settings_of_vllms_engine_are_let_pass() -> None:
    from harness import compose

    SteeredVLLM = compose("vllm-steered")
    from harness import compose

    SpeculativeVLLM = compose("vllm-speculative")
    from vllm import EngineArgs

    given = {field.name: None for field in dataclasses.fields(EngineArgs)}
    for kind in (SteeredVLLM, SpeculativeVLLM):
        assert arguments.read(kind, given) == given


def test_a_missing_folder_is_no_wrong_repository_id(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=f"pretrained={tmp_path}/no: there is no such folder"):
        HFLM.create_from_arg_string(f"pretrained={tmp_path}/no")


def test_the_testbed_is_known_to_lm_evals_own_models() -> None:
    place = str(model_path("student"))
    assert arguments.read(HFLM, {"pretrained": "testbed:student"}) == {"pretrained": place}
    found = simple_evaluate(
        model="hf",
        model_args="pretrained=testbed:student,device=cpu",
        tasks=["axbench_detect"],
        metadata={"data": "testbed"},
        limit=1,
        bootstrap_iters=0,
    )
    assert found["results"]["axbench_detect"]


def test_misspelt_names_are_told_with_what_they_are_near() -> None:
    with pytest.raises(ValueError, match=r"^model 'hf-steerd' not found; did you mean hf-steered"):
        simple_evaluate(model="hf-steerd", model_args="", tasks=["axbench_detect"])
    manager = TaskManager()
    with pytest.raises(HarnessError, match=r"^task 'axbench_detct' not found; did you mean ax"):
        manager.load(["axbench_detct"])
    with pytest.raises(HarnessError, match=r"^task 'axbench_detct' not found; did you mean ax"):
        manager.match_tasks(["axbench_detct"])


def test_a_device_among_the_arguments_is_taken() -> None:
    """lm-eval passes its flags' defaults beside them, and stumbles over what is said twice."""
    lm = HFLM.create_from_arg_string(
        "pretrained=testbed:student,device=cpu,batch_size=3",
        {"device": "cuda:0", "batch_size": 1, "max_batch_size": None},
    )
    assert (str(lm.device), lm.batch_size) == ("cpu", 3)


def test_lm_eval_is_given_the_base_and_the_adapter(
    adapter: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = str(model_path("student"))
    given = {"pretrained": str(adapter), "dtype": "float32"}
    for kind in (HFLM, DistilledHF):
        read = arguments.read(kind, given)
        assert read == {"pretrained": base, "peft": str(adapter), "dtype": "float32"}
    said = f"is an adapter of {base}: loaded as pretrained={base},peft={adapter}"
    assert said in caplog.text
    model = DistilledHF.create_from_arg_obj(given, {"device": "cpu"})
    assert isinstance(model.model, PeftModel)
    for more in ({"peft": "x"}, {"trust_remote_code": True}):
        with pytest.raises(HarnessError, match=rf"an adapter of {base}: give pretrained={base},p"):
            arguments.read(HFLM, given | more)


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_vllm_has_an_option_of_its_own(adapter: Path) -> None:
    base = model_path("student")
    with pytest.raises(HarnessError, match=rf"give pretrained={base},lora_local_path={adapter}"):
        arguments.read(compose("vllm-steered"), {"pretrained": str(adapter)})


def test_what_a_model_cannot_do_without_is_missed_under_its_name() -> None:
    for kind in (HFLM, DistilledHF):
        with pytest.raises(HarnessError, match=r"pretraned=…: .*; did you mean pretrained\?$"):
            arguments.read(kind, {"pretraned": "no/model"})
    assert arguments.read(HFLM, {"pretrained": "no/model", "pretraned": "x"})["pretraned"] == "x"


def test_the_testbed_is_known_in_every_argument_of_lm_evals_own_models() -> None:
    given = {"pretrained": "no/model", "tokenizer": "testbed:student", "revision": "main"}
    assert arguments.read(HFLM, given) == given | {"tokenizer": str(model_path("student"))}
    with pytest.raises(HarnessError, match=r"no model 'studnt'; did you mean student\?$"):
        arguments.read(HFLM, given | {"tokenizer": "testbed:studnt"})
