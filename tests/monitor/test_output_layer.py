"""The output term of the fused score, relative distance of the logits; how a monitor finds it."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from deepdrift import DeepDriftMonitor, LayerDistance, NotFittedError, StateError, StateScorer
from deepdrift.scores.distance import relative_distance
from deepdrift.states.blocks import auto_layers
from deepdrift.states.head import find_head

N_CLASSES = 4


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.tanh(self.linear(x))


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(0)
            self.body = nn.ModuleList(Block() for _ in range(3))
            self.head = nn.Linear(6, N_CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.body:
            x = block(x)
        return self.head(x)


def labelled(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(N_CLASSES, (n,), generator=g)
    centres = 3 * torch.eye(6)[:N_CLASSES]
    return centres[y] + torch.randn(n, 6, generator=g), y


def states(n: int, seed: int, shift: float = 0.0) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Two uninformative layers, and logits that hold the classes."""
    x, y = labelled(n, seed)
    g = torch.Generator().manual_seed(seed + 1000)
    hidden = {k: torch.randn(n, 3, generator=g) for k in ("a", "b")}
    return hidden | {"logits": x[:, :N_CLASSES] * (1 - shift)}, y


def test_relative_distance_is_the_difference_of_two_float64_mahalanobis_distances():
    mix = torch.diag(torch.tensor([1.0, 2, 3, 1, 2, 3])) + 0.5  # no class is a sphere
    z, y = labelled(20_000, 0)
    z, query = z @ mix, labelled(50, 1)[0] @ mix
    x = z.double().numpy()
    means = np.stack([x[(y == c).numpy()].mean(0) for c in range(N_CLASSES)])
    inside = np.cov((x - means[y]).T, bias=True)
    whole = np.cov(x.T, bias=True)

    def squared(gap: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        return np.einsum("nd,nd->n", gap @ np.linalg.inv(covariance), gap)

    q = query.double().numpy()
    expected = np.min([squared(q - m, inside) for m in means], axis=0)
    expected = expected - squared(q - x.mean(0), whole)
    found = relative_distance(LayerDistance().fit({"z": z}, y), {"z": query})[:, 0]
    # the library shrinks its covariances, by little with so many samples
    assert np.allclose(found.numpy(), expected, atol=0.01 * np.abs(expected).max())


def test_relative_distance_needs_classes():
    distance = LayerDistance().fit({"z": torch.randn(50, 2)})
    with pytest.raises(NotFittedError, match="fit with labels"):
        relative_distance(distance, {"z": torch.randn(3, 2)})


def test_relative_distance_never_lets_an_overflow_look_normal():
    z, y = labelled(400, 0)
    distance = LayerDistance().fit({"z": z}, y)
    assert relative_distance(distance, {"z": torch.full((1, 6), 1e38)}).item() == math.inf


def test_the_output_term_sees_what_the_layers_do_not():
    plain, with_output = StateScorer(), StateScorer(output_layer="logits")
    fit, fit_labels = states(2000, 0)
    calibration, _ = states(1000, 1)
    hidden = ("a", "b")
    plain.partial_fit({k: fit[k] for k in hidden}, fit_labels)
    plain.calibrate({k: calibration[k] for k in hidden})
    with_output.partial_fit(fit, fit_labels)
    with_output.calibrate(calibration)
    strange, _ = states(1000, 2, shift=0.9)  # all logits alike: no class fits
    reading = with_output.read(strange)
    assert list(reading.blocks) == ["innovation", "distance", "relative", "output"]
    assert reading.blocks["output"].shape == (1000, 1)
    share = reading.flagged.double().mean()
    assert plain.read({k: strange[k] for k in hidden}).flagged.double().mean() < 0.1
    assert share > 0.2
    assert reading.most_unusual == "output relative distance"
    assert reading.layers == hidden


def test_the_false_alarm_rate_is_kept_with_the_output_term():
    rates = []
    for seed in range(12):
        scorer = StateScorer(alpha=0.1, output_layer="logits")
        scorer.partial_fit(*states(600, 10 * seed))
        scorer.calibrate(states(400, 10 * seed + 1)[0])
        rates.append(float(scorer.read(states(1000, 10 * seed + 2)[0]).flagged.double().mean()))
    # one rate has a standard deviation of about sqrt(.1 * .9 * (1 / 200 + 1 / 1000)) = 0.023
    assert abs(np.mean(rates) - 0.1) < 3.5 * 0.023 / math.sqrt(12)


def test_without_labels_the_output_layer_changes_nothing():
    fit, _ = states(600, 0)
    calibration, _ = states(300, 1)
    query, _ = states(40, 2)
    found = []
    for keys, name in ((("a", "b", "logits"), "logits"), (("a", "b"), None)):
        scorer = StateScorer(output_layer=name).partial_fit({k: fit[k] for k in keys})
        scorer.calibrate({k: calibration[k] for k in keys})
        found.append(scorer.read({k: query[k] for k in keys}).score)
    assert torch.equal(*found)


def test_a_bad_logit_is_never_healthy_and_a_missing_one_is_named():
    scorer = StateScorer(output_layer="logits").partial_fit(*states(600, 0))
    scorer.calibrate(states(300, 1)[0])
    query, _ = states(5, 2)
    query["logits"][2, 1] = math.nan
    reading = scorer.read(query)
    assert reading.flagged[2] and reading.p_values[2] == 0
    assert reading.invalid_layers == ("logits",)
    assert not reading.flagged[[0, 1, 3, 4]].all()
    assert scorer.drift_per_sample(query)[1][2] == math.inf
    with pytest.raises(StateError, match="expected 'logits' among them"):
        scorer.read({k: query[k] for k in ("a", "b")})


def test_order_and_batches_do_not_matter():
    fit, y = states(900, 0)
    whole = StateScorer(output_layer="logits").partial_fit(fit, y)
    parts = StateScorer(output_layer="logits")
    for rows in torch.arange(900).split(130):
        parts.partial_fit({k: v[rows] for k, v in fit.items()}, y[rows])
    query, _ = states(20, 2)
    for scorer in (whole, parts):
        scorer.calibrate(states(300, 1)[0])
    assert torch.allclose(whole.read(query).score, parts.read(query).score, rtol=1e-5)


# --- the monitor ---


@pytest.fixture(scope="module")
def model() -> Classifier:
    return Classifier()


def loader(n: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    x, y = labelled(n, seed)
    return list(zip(x.split(100), y.split(100), strict=True))


def test_a_monitor_finds_the_head_only_when_no_layer_is_named(model):
    with DeepDriftMonitor(model) as monitor:
        assert monitor.output_layer == "head"
        assert monitor.layers == ("body.0", "body.1", "body.2")
        _ = model(torch.zeros(2, 6))
        assert list(monitor.states()) == ["body.0", "body.1", "body.2"]
        assert len(monitor.get_spatial_velocity()) == 2
        assert monitor.get_temporal_velocity().shape == (2,)
    for options in ({"layer_names": ["body.1", "body.2"]}, {"output_layer": None}):
        with DeepDriftMonitor(model, **options) as monitor:
            assert monitor.output_layer is None
    for score in ("innovation", "distance", "velocity"):
        with DeepDriftMonitor(model, score=score) as monitor:
            assert monitor.output_layer is None


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fc = nn.LayerNorm(6), nn.Linear(6, N_CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(x))


class InStages(nn.Module):
    """Its head is a block beside its stages, as in RegNet of timm."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(0)
            self.stem, self.stage, self.head = Block(), Block(), Head()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stage(self.stem(x)))


def test_a_block_that_returns_the_logits_is_not_watched_beside_them():
    network = InStages()
    assert "head" in auto_layers(network)
    found = DeepDriftMonitor(network, watch_input=False)
    plain = DeepDriftMonitor(network, ["stem", "stage"], output_layer="head.fc", watch_input=False)
    for monitor in (found, plain):
        monitor.fit(loader(800, 0))
        monitor.calibrate(loader(400, 1))
    assert found.layers == ("stem", "stage") and found.output_layer == "head.fc"
    x = labelled(30, 2)[0]
    assert torch.equal(found.read(x).p_values, plain.read(x).p_values)


def test_a_block_that_is_named_may_hold_the_output_layer():
    network = InStages()
    with DeepDriftMonitor(network, ["stage", "head"], output_layer="head.fc") as monitor:
        monitor.fit(loader(800, 0))
        monitor.calibrate(loader(400, 1))
        assert list(monitor.states(labelled(30, 2)[0])) == ["stage", "head"]


def test_a_monitor_scores_like_the_scorer_on_the_same_states(model):
    names = ["body.0", "body.1", "body.2"]
    with DeepDriftMonitor(model, names, output_layer="head", n_channels=3) as monitor:
        monitor.fit(loader(800, 0))
        monitor.calibrate(loader(400, 1))
        x = labelled(30, 2)[0]
        reading = monitor.read(x)
        with torch.no_grad():
            logits = {
                name: model(labelled(n, s)[0])
                for name, n, s in (("fit", 800, 0), ("calibration", 400, 1), ("x", 30, 2))
            }
    distance = LayerDistance().fit({"head": logits["fit"]}, labelled(800, 0)[1])
    expected = relative_distance(distance, {"head": logits["x"]})  # not projected to 3 channels
    assert torch.allclose(reading.blocks["output"], expected, rtol=1e-4, atol=1e-4)


def test_save_load_and_merge_keep_the_output_term(model, tmp_path):
    x = labelled(30, 9)[0]
    with DeepDriftMonitor(model) as monitor, DeepDriftMonitor(model) as other:
        monitor.fit(loader(800, 0))
        monitor.calibrate(loader(400, 1))
        monitor.save(tmp_path / "normal.safetensors")
        other.load(tmp_path / "normal.safetensors")
        assert torch.equal(monitor.p_values(x), other.p_values(x))
        assert "output" in other.read(x).blocks
    with DeepDriftMonitor(model) as a, DeepDriftMonitor(model) as b, DeepDriftMonitor(model) as c:
        whole = loader(800, 0)
        a.fit(whole[:3]), b.fit(whole[3:]), c.fit(whole)
        a.reference = a.reference.merge(b.reference)
        for part in (a, c):
            part.calibrate(loader(400, 1))
        assert torch.allclose(a.score(x), c.score(x), rtol=1e-6)


def test_a_reference_without_output_term_is_taken_over_only_where_the_term_is_a_guess(
    model, tmp_path
):
    from deepdrift import ReferenceFileError

    x = labelled(30, 9)[0]
    with DeepDriftMonitor(model, output_layer=None) as monitor:
        monitor.calibrate(loader(600, 0))
        monitor.save(tmp_path / "plain.safetensors")
        expected = monitor.p_values(x)
    with DeepDriftMonitor(model) as monitor:
        monitor.load(tmp_path / "plain.safetensors")
        assert monitor.output_layer is None
        assert torch.equal(monitor.p_values(x), expected)
    with (
        DeepDriftMonitor(model, output_layer="head") as monitor,
        pytest.raises(ReferenceFileError, match="output_layer"),
    ):
        monitor.load(tmp_path / "plain.safetensors")


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5)), "2"),
        (nn.Sequential(nn.Linear(3, 4)), None),  # nothing before it to watch
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), None),  # one number is no class score
        (nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 50_000)), None),  # a vocabulary
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), None),
    ],
)
def test_find_head(network, expected):
    assert find_head(network) == expected


def test_the_layer_that_made_the_output_counts_and_not_the_last_one_defined(model):
    spare = Classifier()
    spare.spare = nn.Linear(6, 3)  # defined last, and never called
    with DeepDriftMonitor(spare) as monitor, DeepDriftMonitor(model) as plain:
        assert monitor.output_layer == "spare"
        for part in (monitor, plain):
            part.fit(loader(800, 0)).calibrate(loader(400, 1))
        assert monitor.output_layer == plain.output_layer == "head"
        x = labelled(30, 2)[0]
        assert torch.equal(monitor.p_values(x), plain.p_values(x))


def test_an_output_layer_that_would_be_ignored_is_refused(model):
    with pytest.raises(StateError, match="only score='fused'"):
        StateScorer("innovation", output_layer="logits")
    with pytest.raises(StateError, match="only score='fused'"):
        DeepDriftMonitor(model, score="distance", output_layer="head")
    with pytest.raises(StateError, match="'head' is among layer_names"):
        DeepDriftMonitor(model, ["body.0", "head"], output_layer="head")
