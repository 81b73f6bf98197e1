"""A map that refuses: six mutants on the shipped networks, six reasons, each with a way out."""

import copy
import re

import pytest
import torch
from captum.attr import LayerGradCam

from deepdrift.attribution import (
    AttributionError,
    attention_rollout,
    check_maps,
    grad_cam,
    integrated_gradients,
    saliency,
    similarity,
)
from deepdrift.errors import DeepDriftError


def refused(call):
    with pytest.raises(AttributionError) as caught:
        call()
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, DeepDriftError)
    return caught.value.reason, str(caught.value)


def without_queries(vit):
    """Attention that looks at all tokens alike."""
    flat = copy.deepcopy(vit)
    for block in flat.blocks:
        torch.nn.init.zeros_(block.attention.qkv.weight)
        torch.nn.init.zeros_(block.attention.qkv.bias)
    return flat


def mutants(cnn, vit, images):
    tokens_for_channels = LayerGradCam(vit, vit.blocks[3]).attribute(images, 0)
    return {
        "all_zero": lambda: grad_cam(vit, images, layer="blocks.4"),
        "not_spatial": lambda: grad_cam(cnn, images, layer="head"),
        "embedding_axis": lambda: check_maps(tokens_for_channels, vit, images),
        "constant": lambda: attention_rollout(without_queries(vit), images),
        "class_blind": lambda: attention_rollout(vit, images, 3),
        "incomplete": lambda: integrated_gradients(cnn, images, n_steps=2),
    }


REMEDY = {
    "all_zero": r"read from the class token.*use layer='blocks\.3'.*or use attention_rollout",
    "not_spatial": r"'head' \(Linear\) has shape \(N, 10\).*use layer='blocks\.5'",
    "embedding_axis": r"64 numbers are no places.*embedding dimensions.*layer='blocks\.3'",
    "constant": "all patches alike.*use saliency or grad_cam",
    "class_blind": "does not know classes.*leave targets out, or use grad_cam",
    "incomplete": r"with n_steps=2 .* use n_steps=64, or a baseline nearer",
}


@pytest.mark.parametrize("reason", REMEDY)
def test_a_mutant_is_refused_for_its_own_reason_and_says_what_to_use(cnn, vit, images, reason):
    found, sentence = refused(mutants(cnn, vit, images)[reason])
    assert found == reason
    assert re.search(REMEDY[reason], sentence)
    assert "\n" not in sentence and not sentence.endswith(".")


def test_six_mutants_have_six_sentences(cnn, vit, images):
    found = [refused(call) for call in mutants(cnn, vit, images).values()]
    assert len({reason for reason, _ in found}) == len({text for _, text in found}) == 6


def test_what_the_sentences_advise_works(cnn, vit, images):
    assert not grad_cam(vit, images, layer="blocks.3").empty.any()
    assert not grad_cam(cnn, images, layer="blocks.5").empty.any()


@pytest.mark.parametrize("layer", ["blocks.4", "blocks.4.mlp.2", "blocks", "norm"])
def test_every_image_has_a_map_of_zeros_where_the_class_token_is_read(vit, images, layer):
    """Not for some images and not nearly: the premise of the sentence."""
    kept = {}
    module = vit.get_submodule(layer)

    def keep(module, inputs, output):
        output.requires_grad_().retain_grad()
        kept["tokens"] = output

    handle = module.register_forward_hook(keep)
    frozen = images.clone()
    vit(frozen).amax(dim=1).sum().backward()
    handle.remove()
    vit.zero_grad(set_to_none=True)
    assert not kept["tokens"].grad[:, 1:].any() and kept["tokens"].grad[:, 0].any()
    assert refused(lambda: grad_cam(vit, images, layer=layer))[0] == "all_zero"


def test_captum_reads_the_embedding_of_a_transformer_as_a_picture(vit, images):
    """The mutant is real: 64 numbers, no error, a square of 8 x 8 that fits no patch, and noise.

    Behind a layer normalisation gradients have mean zero over the embedding: what is left of
    their mean is rounding.
    """
    raw = LayerGradCam(vit, vit.blocks[3]).attribute(images, 0)
    assert raw.shape == (len(images), 1, 64)
    ours = grad_cam(vit, images, 0, layer="blocks.3").maps
    assert float(raw.detach().abs().max()) < 1e-4 * float(ours.max())
    for call in (
        lambda: check_maps(raw.reshape(-1, 8, 8), vit, images),
        lambda: similarity(raw.detach().abs(), raw.detach().abs()),
    ):
        assert refused(call)[0] == "embedding_axis"


@pytest.mark.parametrize("method", [saliency, integrated_gradients, attention_rollout])
def test_a_network_in_training_mode_is_refused_and_keeps_its_statistics(cnn, images, method):
    network = copy.deepcopy(cnn).train()
    before = copy.deepcopy(network.state_dict())
    reason, sentence = refused(lambda: method(network, images))
    assert reason == "training_mode" and "call model.eval() first" in sentence
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(module.training for module in network.modules())


def test_one_part_in_training_mode_is_enough(cnn, images):
    network = copy.deepcopy(cnn)
    network.blocks[2].bn1.train()
    reason, sentence = refused(lambda: grad_cam(network, images, layer="blocks.5"))
    assert reason == "training_mode" and "its part 'blocks.2.bn1'" in sentence
