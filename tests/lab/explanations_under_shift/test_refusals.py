"""Maps that refuse: six reasons, bad input, and a network that stays as it was."""

from __future__ import annotations

import pytest
import torch

from deepdrift.errors import LayerNotFoundError
from deepdrift.lab.explanations_under_shift.explanations import garments, networks
from deepdrift.lab.explanations_under_shift.refusals import (
    bad_input,
    raw_grad_cam,
    refusal,
    six_refusals,
)
from deepdrift.lab.explanations_under_shift.reports import told


@pytest.fixture(scope="module")
def world():
    return networks(), garments(10).images[:4]


def test_six_mutants_have_six_reasons(world):
    models, images = world
    found = six_refusals(models["CNN"], models["ViT"], images)
    reasons = {error.reason for error in found.values()}
    assert reasons == {
        "all_zero", "not_spatial", "embedding_axis", "constant", "class_blind", "incomplete",
    }  # fmt: skip
    assert "'blocks.3'" in str(found["Grad-CAM at the ViT's last block"])
    assert all(len(line) <= 100 for line in told(found).splitlines())
    assert told(found).count("):\n") == 6


def test_bad_input_changes_nothing(world):
    models, images = world
    network = models["CNN"]
    before = {k: v.clone() for k, v in network.state_dict().items()}
    found = bad_input(network, images)
    assert [getattr(e, "reason", type(e)) for e in found.values()] == [
        "training_mode", "input", "input", "not_finite", LayerNotFoundError,
    ]  # fmt: skip
    assert not network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_what_captum_returns_for_tokens_is_a_row_of_embedding_dimensions(world):
    models, images = world
    raw = raw_grad_cam(models["ViT"], images, "blocks.3")
    assert raw.shape == (4, 1, 64) and raw.max() > 0
    assert not models["ViT"].blocks[3]._forward_hooks
    assert not raw_grad_cam(models["ViT"], images, "blocks.4")[..., 1:].isnan().any()


def test_a_question_with_an_answer_is_no_refusal():
    with pytest.raises(ValueError, match="answered with a map"):
        refusal(lambda: 1)
