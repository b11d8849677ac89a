r"""How much of a teacher's score a student retains, and how much of the gap it recovers.

On a task's headline metric, with s the student's score, t the teacher's, s₀ that of the student
before distillation and c what guessing earns:

    retained = (s − c)/(t − c)          gap recovered = (s − s₀)/(t − s₀)

both in percent. c is 0 where it is not known; of a metric of which less is better and no chance is
known nothing is retained. Only scores that may be compared are: of one contest, both on all of the
data or on equally many documents of it. There is no share where t = c or t = s₀, nor where the two
are within 1.96 standard errors of each other: it would be noise over noise.

Intervals are by the delta method from the scores' standard errors, the scores taken as independent:

    Var(retained) ≈ [σ_s² + r² σ_t²]/(t − c)²
    Var(recovered) ≈ [σ_s² + g² σ_t² + (1 − g)² σ_{s₀}²]/(t − s₀)²

Models mostly find the same documents hard; then the scores are positively correlated and these
intervals are too wide rather than too narrow. There is none where a standard error is missing.

Worked example: s = 0.6, t = 0.7, s₀ = 0.5 and c = 0.25 give 77.8 % retained, 50 % recovered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import HarnessError
from harness.leaderboard.rows import Contest, Row, Run, Share, Table
from harness.leaderboard.tables import current_rows

_Z95 = 1.96
_LISTED = 12
_Key = tuple[Contest, bool, int | None]
_Terms = Sequence[tuple[float, float | None]]


def paths_of(results: Sequence[Path], runs: Iterable[str | None]) -> list[Path]:
    """The paths to read: the results, and the runs that are paths beyond them."""
    inside = [path.resolve() for path in results]
    found = list(results)
    for run in runs:
        if run and (path := Path(run)).exists():
            place = path.resolve()
            if not any(place == known or known in place.parents for known in inside):
                found.append(path)
    return found


def compared(table: Table, *, teacher: str, base: str | None = None) -> Table:
    """The table with ``retained``, and with a base also ``recovered``, on headline metrics.

    Args:
        table: What ``read_results`` returned.
        teacher: The teacher's run: its results file, a folder of its results, its model's name, or
            its run id.
        base: The run of the student before distillation, likewise.

    Raises:
        HarnessError: A name is of no run, or of several that differ on one task.
    """
    teachers = _reference(table, teacher, "--teacher")
    bases = _reference(table, base, "--base") if base is not None else {}
    rows = []
    for row in table.rows:
        key = _key(row)
        if row.headline and (best := teachers.get(key)):
            retained = _retained(row, best)
            recovered = _recovered(row, best, bases[key]) if key in bases else None
            row = replace(row, retained=retained, recovered=recovered)  # noqa: PLW2901
        rows.append(row)
    return replace(table, rows=tuple(rows), teacher=teacher, base=base or "")


def _key(row: Row) -> _Key:
    """What two rows must share to be compared."""
    return row.contest, row.task.limited, row.n if row.task.limited else None


def _reference(table: Table, name: str, option: str) -> Mapping[_Key, Row]:
    """The rows of a run by what they may be compared with."""
    own = _named(table.runs, name)
    if not own:
        raise HarnessError(f"{option} {name} is none of the runs: {_listed(table.runs)}")
    rows = [row for row in table.rows if row.headline and row.run.run_id in own]
    found: dict[_Key, Row] = {}
    for limited in (False, True):
        for row in current_rows(row for row in rows if row.task.limited is limited):
            key = _key(row)
            if key in found:
                raise HarnessError(
                    f"{option} {name} names runs of {row.task.task} that differ: "
                    f"{found[key].run.file} and {row.run.file}; give one of these files"
                )
            found[key] = row
    return found


def _named(runs: Sequence[Run], name: str) -> set[str]:
    """Ids of the runs that a path, a model's name or an id stands for."""
    place = Path(name).resolve()
    ways = (
        lambda run: place in (path := Path(run.file).resolve(), *path.parents),
        lambda run: name == run.model,
        lambda run: name == Path(run.model).name,
        lambda run: name == run.run_id,
    )
    found = ({run.run_id for run in runs if way(run)} for way in ways)
    return next((ids for ids in found if ids), set())


def _listed(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.model for run in runs))
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _retained(row: Row, teacher: Row) -> Share | None:
    chance = row.chance
    if chance is None and row.higher_is_better is False:
        return None
    chance = chance or 0.0
    if row.value is None or teacher.value is None:
        return None
    gap = teacher.value - chance
    if _is_noise(gap, teacher):
        return None
    share = (row.value - chance) / gap
    terms = [(1.0, row.stderr), (share, teacher.stderr)]
    return _percent(share, gap, terms, exact=row.run.run_id == teacher.run.run_id)


def _recovered(row: Row, teacher: Row, base: Row) -> Share | None:
    if row.value is None or teacher.value is None or base.value is None:
        return None
    gap = teacher.value - base.value
    if _is_noise(gap, teacher, base):
        return None
    share = (row.value - base.value) / gap
    terms = [(1.0, row.stderr), (share, teacher.stderr), (1 - share, base.stderr)]
    exact = row.run.run_id in (teacher.run.run_id, base.run.run_id)
    return _percent(share, gap, terms, exact=exact)


def _is_noise(gap: float, *rows: Row) -> bool:
    """Whether a gap is 0, or within 1.96 standard errors of it where these are known."""
    deviation = _deviation([(1.0, row.stderr) for row in rows])
    return gap == 0 or (deviation is not None and abs(gap) <= _Z95 * deviation)


def _percent(share: float, gap: float, terms: _Terms, *, exact: bool) -> Share:
    """A share in percent, with the interval of its terms (weight, standard error) over the gap."""
    deviation = None if exact else _deviation(terms)
    if deviation is None:
        return Share(100 * share)
    half = _Z95 * deviation / abs(gap)
    return Share(100 * share, 100 * (share - half), 100 * (share + half))


def _deviation(terms: _Terms) -> float | None:
    """√Σ (wσ)²; None where a σ is missing."""
    known = [weight * error for weight, error in terms if error is not None]
    return math.hypot(*known) if len(known) == len(terms) else None
