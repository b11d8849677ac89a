"""The graph of a study: artefacts and cells, what each refers to, and an order to do them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from harness.artefacts.yaml_files import Place
from harness.studies.reading.file import Made, Study, Task
from harness.studies.reading.references import named_in, references, texts
from harness.studies.reading.settings import merged, misnamed
from harness.studies.reading.variants import Variant, variants
from harness.studies.units import Artefact, Unit


@dataclass(frozen=True)
class Node:
    """An artefact or a cell before it has a key.

    Args:
        name: The unit's name.
        given: An artefact's options, or a cell's configuration, with references in it.
        made: The artefact that it is.
        variant: The variant of a run that a cell runs.
        task: The task that a cell runs.
        needs: The unit that each of its references means.
    """

    name: str
    given: Mapping[str, Any]
    made: Made | None = None
    variant: Variant | None = None
    task: Task | None = None
    needs: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """Where in the file it stands: an artefact, or the run of a cell."""
        entry = self.made or (self.variant and self.variant.run)
        return entry.place if entry else ()


def nodes(study: Study) -> dict[str, Node]:
    """All artefacts and cells of a study by name, in the order of its file.

    Raises:
        StudyError: A reference means nothing, or several things.
    """
    of_runs = variants(study)
    found = {made.name: Node(made.name, made.options, made=made) for made in study.make}
    found |= {node.name: node for variant in of_runs for node in _cells(study, variant)}
    return {
        node.name: replace(
            node,
            needs={ref: _meant(study, node, ref, found, of_runs) for ref in references(node.given)},
        )
        for node in found.values()
    }


def sequence(study: Study, graph: Mapping[str, Node]) -> list[str]:
    """Names of the nodes in an order in which what is needed comes first.

    Raises:
        StudyError: There is a circle.
    """
    needs = {name: list(node.needs.values()) for name, node in graph.items()}
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as cause:
        circle = list(reversed(cause.args[1]))
        first = next(ref for ref, unit in graph[circle[0]].needs.items() if unit == circle[1])
        raise study.wrong(_place(study, first), f"a circle: {' needs '.join(circle)}") from cause


def _cells(study: Study, variant: Variant) -> Iterable[Node]:
    """A variant's cells: each of its tasks with the settings of defaults, run and task."""
    for task in study.tasks:
        if variant.run.tasks is not None and task.name not in variant.run.tasks:
            continue
        for name, value in (task.settings.get("model_args") or {}).items():
            if isinstance(value, list):
                raise study.wrong(
                    (*task.place, "model_args", name), "a list here has no variants to make: only "
                    "one among a run's model_args has"
                )  # fmt: skip
        config = merged(variant.settings, task.settings)
        config |= {"tasks": [task.task], "log_samples": True}
        yield Node(f"{variant.name}/{task.name}", config, variant=variant, task=task)


def _meant(
    study: Study, node: Node, name: str, found: Mapping[str, Node], of_runs: Sequence[Variant]
) -> str:
    """The unit that a reference of a node means."""
    run, slash, task = name.partition("/")
    if not slash:
        if name in found and found[name].made:
            return name
        said = misnamed(name, [made.name for made in study.make], "artefact")
        raise study.wrong(_place(study, name), f"{said} (braces that are text: {{{{{name}}}}})")
    own = {variant.name: variant for variant in of_runs if run in (variant.name, variant.run.name)}
    if not own:
        names = list(dict.fromkeys(variant.run.name for variant in of_runs))
        raise study.wrong(_place(study, name), f"{{{name}}}: {misnamed(run, names, 'run')}")
    chosen = [own[run]] if run in own else _agreeing(node, list(own.values()))
    if len(chosen) != 1:
        raise study.wrong(
            _place(study, name),
            f"'{node.name}' refers to {{{name}}}, which is one of {', '.join(own)}: name the one, "
            "or give this run the same values of the arguments that tell them apart",
        )
    cell = f"{chosen[0].name}/{task}"
    if cell not in found:
        tasks = [one.partition("/")[2] for one in found if one.startswith(f"{chosen[0].name}/")]
        raise study.wrong(_place(study, name), f"{{{name}}}: {misnamed(task, tasks, 'task of it')}")
    return cell


def _agreeing(node: Node, among: list[Variant]) -> list[Variant]:
    """The variants whose multiplied arguments have the same values in a cell."""
    own = node.given.get("model_args") or {} if node.variant else {}
    return [v for v in among if all(own.get(name) == value for name, value in v.chosen.items())]


def _place(study: Study, name: str) -> Place:
    """Where the file refers to something."""
    return next((place for place, text in texts(study.document) if name in named_in(text)), ())


def ordered(units: Sequence[Unit]) -> list[Unit]:
    """An order in which what is needed comes first: artefacts, then cells that share together."""
    by_name = {unit.name: unit for unit in units}
    places = {unit.name: place for place, unit in enumerate(units)}
    graph = {u.name: [need for need in u.needs if need in by_name] for u in units}
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ready: set[str] = set()
    found: list[Unit] = []
    while sorter.is_active():
        ready |= set(sorter.get_ready())
        before = getattr(found[-1], "sharing", None) if found else None
        name = min(
            ready,
            key=lambda one: (
                not isinstance(by_name[one], Artefact),
                getattr(by_name[one], "sharing", None) != before,
                places[one],
            ),
        )
        ready.remove(name)
        found.append(by_name[name])
        sorter.done(name)
    return found
