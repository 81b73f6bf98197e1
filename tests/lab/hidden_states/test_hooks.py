"""Counting hooks: those on the model, on what is inside, and pre-hooks."""

from torch import nn

from deepdrift.lab.hidden_states.hooks import count_hooks


def test_hooks_of_both_kinds_and_at_every_depth_are_counted():
    model = nn.Sequential(nn.Sequential(nn.Identity()))
    assert count_hooks(model) == 0
    handles = [
        model.register_forward_hook(lambda *_: None),
        model[0][0].register_forward_hook(lambda *_: None),
        model[0].register_forward_pre_hook(lambda *_: None),
    ]
    assert count_hooks(model) == 3
    for handle in handles:
        handle.remove()
    assert count_hooks(model) == 0
