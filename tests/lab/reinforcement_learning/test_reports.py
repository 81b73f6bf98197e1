"""Tables of recorded results as text."""

from __future__ import annotations

import pytest

from deepdrift.lab.reinforcement_learning import reports
from deepdrift.lab.reinforcement_learning.outcomes import Outcomes
from deepdrift.lab.reinforcement_learning.records import load_records


@pytest.fixture(scope="module")
def records():
    return load_records()


def test_no_line_is_too_wide_for_a_notebook(records):
    for record in records.values():
        rows = {str(f): record.outcomes(str(f)) for f in record.faults}
        signals = [str(s) for s in record.signals if s != "observation velocity"][:6]
        texts = [
            reports.fault_table(rows), reports.signal_table(record), reports.lead_lines(rows),
            reports.caught_table(record, signals), reports.line_table(record),
            reports.name_table(record.confusion()),
        ]  # fmt: skip
        assert max(len(line) for text in texts for line in text.splitlines()) <= 100


def test_faults_that_nobody_dies_of_have_a_dash(records):
    text = reports.fault_table({"gravity": records["cartpole"].outcomes("gravity")})
    assert text.splitlines()[1].split()[:5] == ["gravity", "0", "of", "300", "-"]
    assert "     -" in reports.caught_table(records["cartpole"], ["hidden innovation"])


def test_a_signal_has_the_numbers_of_the_record(records):
    record = records["lunarlander"]
    row = reports.signal_table(record, ["hidden velocity"]).splitlines()[1]
    assert f"{record.all_outcomes('hidden velocity').caught:.2f}" in row
    assert f"{record.clean_outcomes('hidden velocity').share('false alarm'):.2f}" in row
    assert len(reports.signal_table(record).splitlines()) == 9


def test_a_higher_line_catches_and_annoys_less(records):
    for record in records.values():
        points = reports.operating_points(record, "hidden innovation")
        assert [p[0] for p in points] == sorted(p[0] for p in points)
        for k in (1, 2):
            values = [p[k] for p in points if p[0] >= 1]
            assert values == sorted(values, reverse=True)
        usual = {p[0]: p[1:] for p in points}[1.0]
        o = record.all_outcomes()
        assert usual == (o.caught.value, o.benign_alarms.value)


def test_lead_times_are_said_and_wrapped():
    o = Outcomes.of(lost=[29, 29], lengths=[30, 30], alarms=[20, 27], onset=10)
    said = reports.lead_lines({"cart: lag": o})
    assert said.startswith("cart: lag: 50% [1%, 99%] of 2 failures had at least 5 steps;")
    assert said.splitlines()[1].startswith("    ")
    assert "20 in half of them and 20 at most" in " ".join(said.split())


TABLE = {
    "sensor: tilt": {"delay": 0, "sensor: tilt": 6, "sensor: turning": 2, "not sure": 2},
    "delay": {"delay": 10, "sensor: tilt": 0, "sensor: turning": 0, "not sure": 0},
}


def test_right_names_are_those_of_the_diagonal():
    assert float(reports.right_names(TABLE)) == 16 / 20
    assert float(reports.right_names(TABLE, sure=True)) == 16 / 18


def test_rows_of_the_table_of_names_are_percent():
    head, tilt, delay = (line.split() for line in reports.name_table(TABLE).splitlines())
    assert head == ["delay", "tilt", "turn", "unsure"]
    assert tilt == ["tilt", "(10)", ".", "60", "20", "20"]
    assert delay == ["delay", "(10)", "100", ".", ".", "."]
