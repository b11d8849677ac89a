"""Oracles: the models that judge, each with its own question and its own form of answer.

``--metadata '{"judge": …}'`` names one lm-eval model or a list of them, any mixture:

    {"judge": [{"model": "local-chat-completions", "model_args": {…}},
               {"model": "hf", "model_args": {"pretrained": "…"}, "oracle": "llama_guard"}]}

``oracle`` is a template's name, ``judge`` by default, or a YAML file of one's own:

    form: fields                # how it answers: json, label, fields, yes_no (``verdicts``)
    unsafe: Harmful response    # of the form ``fields``: which is "yes" where it is unsafe
    refused: Response refusal   # and, if there is one, that of a refusal
    prompt: "… {prompt} … {response} …"     # other braces stay as they are
    output_only: "… {response} …"           # for astral_see_prompt=false
    conversation: true          # in place of a prompt: the model's chat template takes user's and
                                # assistant's turns and makes a question of them (Llama Guard)
    defaults: {temperature: 0.0, max_tokens: 32}   # where the judge's object does not say
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import Assistant, AssistantSpec, JudgeError, Question
from harness.artefacts.reading import fitting
from harness.artefacts.writing import whole
from harness.artefacts.yaml_files import read_yaml
from harness.asking.marks import widened
from harness.errors import meant
from harness_astral.oracles.verdicts import FORMS, Verdict

FOLDER = Path(__file__).with_name("templates")
DEFAULT = "judge"
KEY = "oracle"
_SLOT = re.compile(r"\{(prompt|response)\}")


@dataclass(frozen=True, kw_only=True)
class Template:
    """What an oracle is asked, and how it answers.

    Attributes:
        name: Its name, or its file.
        form: A key of ``verdicts.FORMS``.
        options: What the form's reader has to know.
        prompt: The question about a prompt and a response.
        output_only: The question about a response alone.
        conversation: Whether the turns themselves are the question.
        defaults: Of ``AssistantSpec``.
    """

    name: str
    form: str
    options: Mapping[str, str] = field(default_factory=dict)
    prompt: str = ""
    output_only: str = ""
    conversation: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tells_refusals(self) -> bool:
        """Whether its answers say if the model under test declined."""
        return self.form == "json" or bool(self.options.get("refused"))

    @property
    def sha256(self) -> str:
        """A content hash of its wording."""
        parts = (self.form, str(sorted(self.options.items())), self.prompt, self.output_only)
        return hashlib.sha256("\0".join((*parts, str(self.conversation))).encode()).hexdigest()

    def question(self, prompt: str, response: str, *, see_prompt: bool) -> Question:
        """What to ask about one response.

        The testbed's judge answers from the facts, real models from the text.
        """
        texts = {"prompt": prompt, "response": response}
        facts = {"rating": "safety"} | texts

        def check(answer: str) -> bool:
            return self.read(answer, (prompt, response)) is not None

        if self.conversation:
            return Question(prompt=prompt, reply=response, facts=facts, check=check)
        text = widened(self.prompt if see_prompt else self.output_only, texts.values())
        filled = _SLOT.sub(lambda slot: texts[slot[1]], text)
        return Question(prompt=filled, facts=facts, check=check)

    def read(self, answer: str, judged: Sequence[str] = ()) -> Verdict | None:
        """The verdict in an answer; None where there is none.

        Args:
            answer: The answer.
            judged: What it is about; a verdict that stands in there is a quotation.
        """
        return FORMS[self.form](answer, self.options, judged)


def known() -> list[str]:
    """The names of the templates that are here."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def read_template(name: str) -> Template:
    """The template of a name, or of a file.

    Raises:
        JudgeError: There is none, or it is broken.
    """
    own = FOLDER / f"{name}.yaml"
    path = own if name in known() else Path(name).expanduser()
    if not path.is_file():
        rest = meant(name, known(), "name a YAML file of your own, or one of")
        raise JudgeError(f"judge: there is no oracle {name!r}; {rest}")
    given = fitting(OracleFile, read_yaml(path, JudgeError), f"oracle {path}", JudgeError)
    return Template(
        name=name,
        form=given.form,
        options={k: v for k in ("unsafe", "refused") if (v := getattr(given, k))},
        prompt=given.prompt,
        output_only=given.output_only,
        conversation=given.conversation,
        defaults=given.defaults.model_dump(exclude_none=True),
    )


class _Defaults(BaseModel):
    """How the model is asked; which one, and where it is, the run says."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    temperature: Annotated[float, Field(ge=0)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    votes: Annotated[int, Field(ge=1, le=99)] | None = None


class OracleFile(BaseModel):
    """A template's file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    form: Literal["json", "label", "fields", "yes_no"]
    unsafe: str = ""
    refused: str = ""
    prompt: str = ""
    output_only: str = ""
    conversation: bool = False
    defaults: _Defaults = _Defaults()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        rules = {
            "the form 'fields' needs unsafe, the name of the field that says so": bool(
                self.form != "fields" or self.unsafe
            ),
            "it has a conversation or a prompt, not both": not (self.conversation and self.prompt),
            "prompt has to have {prompt} and {response} in it": bool(self.conversation)
            or set(_SLOT.findall(self.prompt)) == {"prompt", "response"},
            "output_only has to have {response} in it, and not {prompt}": not self.output_only
            or set(_SLOT.findall(self.output_only)) == {"response"},
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(rule)
        return self


@dataclass(frozen=True)
class Oracle:
    """One judge of a run.

    Attributes:
        name: Its name among the run's judges.
        template: What it is asked.
        assistant: The model.
    """

    name: str
    template: Template
    assistant: Assistant

    def ask(
        self, pairs: Sequence[tuple[str, str]], *, see_prompt: bool
    ) -> list[list[tuple[str | None, Verdict | None]]]:
        """Its votes on pairs of prompt and response.

        Returns:
            For each pair as many (words, verdict) as the judge has votes; both None where it gave
            no verdict.

        Raises:
            JudgeError: The model cannot be asked.
        """
        votes, template = self.assistant.spec.votes, self.template
        judged = [(whole(prompt), whole(response)) for prompt, response in pairs]
        asked = [
            replace(template.question(*pair, see_prompt=see_prompt), vote=vote)
            for pair in judged
            for vote in range(votes)
        ]
        answers = iter(self.assistant.ask(asked, lambda answer: True))
        return [
            [
                (answer, None if answer is None else template.read(answer, pair))
                for answer in islice(answers, votes)
            ]
            for pair in judged
        ]

    def note(self) -> dict[str, Any]:
        """What saved results say of it; no secrets."""
        named = {"name": self.name, KEY: self.template.name, "prompt_hash": self.template.sha256}
        return self.assistant.info() | named


def oracles_of(value: object, *, see_prompt: bool) -> list[Oracle]:
    """The oracles that a run's ``judge`` names.

    Args:
        value: A model's name, an object, or a list of these.
        see_prompt: Whether they are to see the prompt.

    Raises:
        JudgeError: One is not known or not well formed, or cannot do without the prompt.
    """
    given = value if isinstance(value, (list, tuple)) else [value]
    if not given:
        raise JudgeError("judge is an empty list: name one judge at least, or judge=none")
    found: list[Oracle] = []
    for one in given:
        template, spec = _parsed(one)
        if not see_prompt and not template.output_only:
            raise JudgeError(
                f"oracle '{template.name}' has to see the prompt: it has no output_only; leave "
                "out astral_see_prompt=false, or choose another"
            )
        name = _name(template, spec)
        taken = sum(re.fullmatch(re.escape(name) + r"( #\d+)?", o.name) is not None for o in found)
        found.append(Oracle(f"{name} #{taken + 1}" if taken else name, template, Assistant(spec)))
    return found


def _parsed(value: object) -> tuple[Template, AssistantSpec]:
    if not isinstance(value, dict):
        template = read_template(DEFAULT)
        return template, AssistantSpec.parse(value)
    name = value.get(KEY, DEFAULT)
    if not isinstance(name, str):
        raise JudgeError(f"judge: {KEY} is the name of an oracle or a file, not {name!r}")
    template = read_template(name)
    rest = {key: part for key, part in value.items() if key != KEY}
    spec = AssistantSpec.parse({**template.defaults, **rest})
    return template, spec


def _name(template: Template, spec: AssistantSpec) -> str:
    args = spec.model_args
    model = str(args.get("model") or args.get("pretrained") or spec.model).rstrip("/")
    return f"{Path(template.name).stem}:{model.rpartition('/')[2]}"
