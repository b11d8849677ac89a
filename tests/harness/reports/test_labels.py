"""Names beside points: apart, inside, left out where there is no room."""

from __future__ import annotations

import itertools

from harness.reports.labels import overlap, placed

WITHIN = (0.0, 0.0, 400.0, 300.0)


def test_a_name_alone_stands_right_of_its_point() -> None:
    (label,) = placed([(100, 100)], ["name"], WITHIN, size=10)
    assert label is not None
    assert (label.left, label.middle, label.led) == (111, 100, False)


def test_at_the_right_edge_it_stands_left() -> None:
    (label,) = placed([(395, 100)], ["name"], WITHIN, size=10)
    assert label is not None and label.box[2] <= 395


def test_names_cover_neither_each_other_nor_points() -> None:
    points = [(60.0 + 70 * (k % 5), 40.0 + 40 * (k // 5)) for k in range(25)]
    labels = placed(points, [f"run-{k}" for k in range(25)], WITHIN, size=10)
    boxes = [label.box for label in labels if label is not None]
    assert len(boxes) == 25
    assert not any(overlap(a, b) for a, b in itertools.combinations(boxes, 2))
    dots = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    assert not any(overlap(box, dot) for box in boxes for dot in dots)


def test_of_a_heap_some_are_left_out_and_the_rest_is_apart() -> None:
    points = [(200.0 + k % 3, 150.0 + k % 7) for k in range(60)]
    labels = placed(points, ["a rather long name"] * 60, WITHIN, size=11)
    boxes = [label.box for label in labels if label is not None]
    assert 4 < len(boxes) < 60
    assert not any(overlap(a, b) for a, b in itertools.combinations(boxes, 2))


def test_lines_are_avoided_where_there_is_another_place() -> None:
    (label,) = placed([(100, 100)], ["name"], WITHIN, size=10, avoid=[(100, 98, 300, 102)])
    assert label is not None
    assert not overlap(label.box, (100, 98, 300, 102))


def test_no_room_no_name() -> None:
    assert placed([(5, 5)], ["name"], (0, 0, 10, 10), size=10) == [None]
