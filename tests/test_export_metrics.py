"""Prometheus metrics against counts by hand; alert rules that parse, and fire when they should."""

import math
import shutil
import subprocess
import sys
import threading

import prometheus_client
import pytest
import torch
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deepdrift import ObserverConfig
from deepdrift.alarms.watch import Watch
from deepdrift.errors import MissingExtraError
from deepdrift.export import ExportError, PrometheusExporter, alert_rules
from deepdrift.monitor.results import Reading


def reading(p, invalid=()):
    p = torch.tensor(p, dtype=torch.float64)
    score = -p.log()
    score[list(invalid)] = math.inf
    return Reading(score, p, p <= 0.05, {}, {}, (), ("a",))


def series(exporter):
    """Every sample of the text page: (name, labels without monitor) -> value."""
    found = {}
    for family in text_string_to_metric_families(exporter.text().decode()):
        for s in family.samples:
            labels = {k: v for k, v in s.labels.items() if k != "monitor"}
            found[s.name, tuple(sorted(labels.items()))] = s.value
    return found


# ---- metrics ----


def test_counts_by_hand():
    exporter = PrometheusExporter("cnn")
    exporter.observe(reading([0.5, 0.04, 0.001, 1.0]))
    exporter.observe(reading([0.0, 0.3], invalid=[0]))
    exporter.refused()
    exporter.refused(2)
    page = series(exporter)
    assert page["deepdrift_samples_total", ()] == 6
    assert page["deepdrift_flagged_total", ()] == 3
    assert page["deepdrift_invalid_total", (("where", "state"),)] == 1
    assert page["deepdrift_invalid_total", (("where", "request"),)] == 3
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in page.items()
        if name == "deepdrift_p_value_bucket"
    }
    assert [buckets[k] for k in ("0.001", "0.02", "0.05", "0.3", "0.5", "0.9", "1.0", "+Inf")] == [
        2, 2, 3, 4, 5, 5, 6, 6,
    ]  # fmt: skip
    assert page["deepdrift_p_value_sum", ()] == pytest.approx(1.841)


def test_drift_state_and_events_per_layer():
    exporter, watch = PrometheusExporter("cnn"), Watch(["a", "b"])
    for drifts, fused in [([0.5, 4.0], 1.0), ([math.nan, 3.5], -math.inf), ([0.25, 1.0], 2.0)]:
        exporter.observe(None, *watch.update(drifts, fused))
        if fused == -math.inf:  # what is not finite never looks low
            assert exporter.value("deepdrift_drift", layer="a") == math.inf
            assert exporter.value("deepdrift_drift", layer="fused") == math.inf
            assert exporter.value("deepdrift_state", layer="a", state="INVALID") == 1
    page = series(exporter)
    drift = {dict(k)["layer"]: v for (name, k), v in page.items() if name == "deepdrift_drift"}
    assert drift == {"a": 0.25, "b": 1.0, "fused": 2.0}
    on = [dict(k) for (name, k), v in page.items() if name == "deepdrift_state" and v == 1]
    assert {(d["layer"], d["state"]) for d in on} == {
        ("a", "NORMAL"), ("b", "NORMAL"), ("fused", "NORMAL")
    }  # fmt: skip
    assert sum(name == "deepdrift_state" for name, _ in page) == 12
    events = {k: v for (name, k), v in page.items() if name == "deepdrift_events_total"}
    assert events[("layer", "b"), ("state", "ALERT")] == 1
    assert events[("layer", "b"), ("state", "NORMAL")] == 1
    assert events[("layer", "fused"), ("state", "INVALID")] == 1


def test_a_layer_called_fused_keeps_its_own_series():
    exporter = PrometheusExporter("cnn")
    exporter.observe(None, *Watch(["fused"]).update([4.0], 1.0))
    assert exporter.value("deepdrift_drift", layer="fused") == 4.0
    assert exporter.value("deepdrift_drift", layer="fused score") == 1.0


def test_exporters_do_not_collide():
    one, two = PrometheusExporter("same"), PrometheusExporter("same")
    one.observe(reading([0.5]))
    assert (one.value("deepdrift_samples_total"), two.value("deepdrift_samples_total")) == (1, 0)
    before = prometheus_client.generate_latest()
    assert b"deepdrift" not in before  # nothing in the registry of the process


def test_exporters_may_share_a_registry_under_other_names():
    registry = prometheus_client.CollectorRegistry()
    left, right = (PrometheusExporter(name, registry) for name in ("left", "right"))
    left.observe(reading([0.5]))
    right.observe(reading([0.5, 0.1]))
    assert left.text() == right.text()
    assert (left.value("deepdrift_samples_total"), right.value("deepdrift_samples_total")) == (1, 2)
    with pytest.raises(ExportError, match="name: this registry has an exporter 'left' already"):
        PrometheusExporter("left", registry)
    taken = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("deepdrift_samples", "of somebody else", registry=taken)
    with pytest.raises(ExportError, match="registry: it holds other metrics"):
        PrometheusExporter("x", taken)


def test_threads_lose_no_count():
    exporter = PrometheusExporter("cnn")

    def work():
        for _ in range(200):
            exporter.observe(reading([0.5, 0.01]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert exporter.value("deepdrift_samples_total") == 1600
    assert exporter.value("deepdrift_flagged_total") == 800


def test_what_is_no_reading_is_refused_by_name():
    exporter = PrometheusExporter("cnn")
    with pytest.raises(ExportError, match="^reading: expected a Reading, got dict"):
        exporter.observe({"p": 1})
    with pytest.raises(ExportError, match="^status: expected a Status, got dict"):
        exporter.observe(None, {"a": 1})
    for name in ("", None, 7):
        with pytest.raises(ExportError, match="^name: expected a name"):
            PrometheusExporter(name)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r'pip install "deepdrift\[export\]"'):
        PrometheusExporter("cnn")


def test_importing_the_exporters_loads_no_client():
    code = "import sys, deepdrift.export; print('prometheus_client' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


# ---- rules ----

CONFIG = ObserverConfig(theta_high=4.0, theta_low=2.0, raise_after=3, clear_after=2)


def rules_of(text):
    (group,) = yaml.safe_load(text)["groups"]
    assert set(group) == {"name", "rules"}
    return {rule["alert"]: rule for rule in group["rules"]}


def test_rules_from_a_configuration():
    rules = rules_of(alert_rules(CONFIG, "cnn", step_seconds=60, alpha=0.01))
    assert list(rules) == [
        "DeepDriftAlert",
        "DeepDriftWarning",
        "DeepDriftInvalid",
        "DeepDriftInvalidSamples",
        "DeepDriftFlagged",
    ]
    for rule in rules.values():
        assert set(rule) - {"keep_firing_for"} == {"alert", "expr", "for", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert 'monitor="cnn"' in rule["expr"]
    alert = rules["DeepDriftAlert"]
    assert alert["expr"].startswith('abs(deepdrift_drift{monitor="cnn"}) >= 4.0 or (')
    assert (
        '"cnn"}) > 2.0 and on (job, instance, monitor, layer) ALERTS{alertname="DeepDriftAlert"'
        in (alert["expr"])
    )
    assert (alert["for"], alert["keep_firing_for"]) == ("150s", "90s")
    assert "keep_firing_for" not in rules["DeepDriftWarning"]


def test_the_metrics_that_rules_name_exist():
    exporter = PrometheusExporter("cnn")
    exporter.observe(reading([0.5]), *Watch(["a"]).update([4.0], 1.0))
    page = exporter.text().decode()
    for source in ("drift", "state"):
        text = alert_rules(CONFIG, "cnn", step_seconds=60, source=source, alpha=0.01)
        for rule in rules_of(text).values():
            for word in rule["expr"].replace("(", " ").split():
                if word.startswith("deepdrift_"):
                    assert f"\n{word.split('{')[0]}{{" in page


def test_the_state_machine_counts_already():
    rules = rules_of(alert_rules(CONFIG, "cnn", step_seconds=60, source="state"))
    alert = rules["DeepDriftAlert"]
    assert alert["expr"] == 'deepdrift_state{monitor="cnn",state="ALERT"} == 1'
    assert alert["for"] == "0s" and "keep_firing_for" not in alert


def test_one_side_or_two_are_in_the_rule():
    alert = rules_of(alert_rules(ObserverConfig(), "x", step_seconds=1))["DeepDriftAlert"]
    assert "at or above 3, or at or below -3, for 1 steps" in alert["annotations"]["description"]
    config = ObserverConfig(two_sided=False)
    alert = rules_of(alert_rules(config, "x", step_seconds=1))["DeepDriftAlert"]
    assert alert["expr"].startswith('deepdrift_drift{monitor="x"} >= 3.0 or (deepdrift_drift{')
    assert "at or above 3 for 1 steps" in alert["annotations"]["description"]


def test_durations():
    def dwell(**options):
        rules = rules_of(alert_rules(ObserverConfig(**options), "x", step_seconds=0.5))
        return rules["DeepDriftAlert"]["for"], rules["DeepDriftAlert"].get("keep_firing_for")

    assert dwell() == ("0s", None)
    assert dwell(raise_after=2, clear_after=3) == ("750ms", "1250ms")


def test_the_expected_false_alarms_are_in_the_annotation():
    """A standard normal value is >= 2 in 2.275 % of the steps, and alerts start afresh at once."""
    config = ObserverConfig(theta_high=2.0, theta_low=2.0)
    text = rules_of(alert_rules(config, "x", step_seconds=1))["DeepDriftAlert"]["annotations"]
    assert "about 43 per 1,000 steps" in text["description"]  # 4.55 % x 95.45 %
    config = ObserverConfig(theta_high=2.0, theta_low=2.0, two_sided=False)
    text = rules_of(alert_rules(config, "x", step_seconds=1))["DeepDriftAlert"]["annotations"]
    assert "about 22 per 1,000 steps and layer, for a standard normal drift" in text["description"]
    normal = [[0.0] * 99 + [5.0]] * 10
    given = rules_of(alert_rules(config, "x", step_seconds=1, normal=normal))
    description = given["DeepDriftAlert"]["annotations"]["description"]
    assert "about 10 per 1,000 steps and layer, on the normal drifts given (1,000 steps)" in (
        description
    )
    none = rules_of(alert_rules(ObserverConfig(theta_high=9), "x", step_seconds=1))
    assert "fewer than 0.015 per 1,000" in none["DeepDriftAlert"]["annotations"]["description"]


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "käse 🧀", "a: b #c", "{{ x }}"])
def test_any_name_survives_the_quoting(name):
    rules = rules_of(alert_rules(CONFIG, name, step_seconds=1))
    quoted = rules["DeepDriftInvalid"]["expr"].split("monitor=")[1].split(",state")[0]
    assert quoted.replace("\\\\", "\0").replace('\\"', '"').replace("\0", "\\") == f'"{name}"'


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"config": None}, "config"),
        ({"monitor": ""}, "monitor"),
        ({"step_seconds": 0}, "step_seconds"),
        ({"step_seconds": math.inf}, "step_seconds"),
        ({"source": "value"}, "source"),
        ({"alpha": 1.0}, "alpha"),
    ],
)
def test_impossible_rules_are_refused(options, name):
    with pytest.raises(ExportError, match=f"^{name}: expected .* got"):
        alert_rules(**{"config": CONFIG, "monitor": "x", "step_seconds": 60} | options)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_fires_when_the_state_machine_would(tmp_path):
    """raise_after 3, clear_after 2: two high values are not enough, between the thetas it stays."""
    (tmp_path / "r.yml").write_text(alert_rules(CONFIG, "cnn", step_seconds=60, alpha=0.01))
    done = subprocess.run(["promtool", "check", "rules", "r.yml"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    values = [0, 5, 5, 0, 5, 5, 5, 5, 3, 3, 1, 1, 1, 1]
    row = 'deepdrift_drift{monitor="cnn",layer="a",job="j",instance="i"}'
    times = {2.9: 0, 3.9: 0, 6.4: 0, 6.6: 1, 9.9: 1, 11.4: 1, 12.1: 0}  # minutes -> firing
    checks = [
        {"eval_time": f"{round(minute * 60)}s", "alertname": "DeepDriftAlert", "exp_alerts": []}
        for minute, firing in times.items()
        if not firing
    ]
    watched = [
        {"expr": 'count(ALERTS{alertname="DeepDriftAlert",alertstate="firing"}) or vector(0)',
         "eval_time": f"{round(minute * 60)}s",
         "exp_samples": [{"labels": "{}", "value": firing}]}
        for minute, firing in times.items()
    ]  # fmt: skip
    test = {
        "rule_files": ["r.yml"],
        "evaluation_interval": "6s",
        "tests": [
            {
                "interval": "60s",
                "input_series": [{"series": row, "values": " ".join(map(str, values))}],
                "alert_rule_test": checks,
                "promql_expr_test": watched,
            }
        ],
    }
    (tmp_path / "t.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", "t.yml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
