"""The scores to beat are those that others publish under the same name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.covariance import OAS

from deepdrift.errors import StateError
from deepdrift.lab.bench.rivals import RIVALS, simple_scores
from deepdrift.states.inputs import input_statistics


@pytest.fixture
def sample():
    g = torch.Generator().manual_seed(3)
    images = torch.rand(40, 1, 6, 6, generator=g)
    logits = 4 * torch.randn(40, 5, generator=g)
    features, normal = torch.randn(40, 8, generator=g), torch.randn(90, 8, generator=g)
    return images, logits, features, normal, torch.rand(90, 1, 6, 6, generator=g)


def test_logit_and_feature_scores_are_those_of_pytorch_ood(sample):
    detector = pytest.importorskip("pytorch_ood.detector")
    _, logits, features, normal, _ = sample
    ours = simple_scores(*sample, k=7)
    nearest = detector.KNN(None, k=7).fit_features(normal, torch.zeros(len(normal)))
    theirs = {
        "MSP": detector.MaxSoftmax.score(logits),
        "energy": detector.EnergyBased.score(logits),
        "kNN": nearest.predict_features(features),
    }
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected.double(), rtol=1e-5, atol=1e-6)


def test_all_scores_are_there_one_per_sample_and_the_input_norm_is_euclidean(sample):
    scores = simple_scores(*sample)
    assert tuple(scores) == RIVALS
    assert {v.shape for v in scores.values()} == {(40,)}
    assert torch.allclose(scores["input norm"] ** 2, sample[0].double().square().sum((1, 2, 3)))


def test_a_sure_and_a_scaled_answer_are_more_normal():
    sure, unsure = torch.tensor([[9.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    image, feature, normal = (
        torch.zeros(1, 1, 3, 3),
        torch.tensor([[0.0, 3.0]]),
        torch.tensor([[0.0, 1.0]]),
    )
    a, b = (simple_scores(image, x, feature, normal, image, k=1) for x in (sure, unsure))
    assert a["MSP"] < b["MSP"] and a["energy"] < b["energy"]
    assert a["kNN"].item() == 0.0  # the length of a feature does not count, its direction does


def test_pixel_statistics_are_a_mahalanobis_distance(sample):
    images, normal = sample[0], sample[4]
    z, query = (input_statistics(x).double().numpy() for x in (normal, images))
    fitted = OAS().fit(z)
    found = simple_scores(*sample)["pixel statistics"].numpy()
    # scikit-learn's OAS differs from the paper's by a term of 1 / D, and so a little from ours
    np.testing.assert_allclose(found, fitted.mahalanobis(query), rtol=0.1)
    assert stats.spearmanr(found, fitted.mahalanobis(query)).statistic > 0.99


def test_the_random_score_depends_on_its_seed_alone(sample):
    images, logits, features, *normal = sample
    first, same = simple_scores(*sample), simple_scores(images * 0, -logits, -features, *normal)
    other = simple_scores(*sample, seed=1)
    assert torch.equal(first["random"], same["random"])
    assert not torch.equal(first["random"], other["random"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (dict(logits=torch.zeros(39, 5)), "logits"),
        (dict(features=torch.zeros(40)), "features"),
        (dict(normal_features=torch.zeros(90, 7)), "width 8"),
        (dict(k=91), "1 to 90"),
        (dict(k=0), "1 to 90"),
    ],
)
def test_bad_sizes_are_named(sample, change, named):
    names = ("images", "logits", "features", "normal_features", "normal_images")
    with pytest.raises(StateError, match=named):
        simple_scores(**(dict(zip(names, sample, strict=True)) | change))
