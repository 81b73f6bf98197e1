"""What a guard has learnt: how normal answers look inside, and what was promised about them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from deepdrift.errors import NotFittedError
from deepdrift.guard.checks import GuardError
from deepdrift.guard.doubt import Doubt, Template, as_doubt, unknown_template
from deepdrift.guard.familiar import Familiar, GroupedRanks
from deepdrift.guard.trace import ALERT, INVALID, NORMAL, STARTING, GuardTrace
from deepdrift.guard.wrong import Method


def invalid(trace: GuardTrace) -> Tensor:
    """Tokens ``(B, T)`` whose logits or states are not finite; an impossible token is not."""
    return trace.mask & (trace.log_prob.isnan() | ~trace.sketch.isfinite().all(dim=(2, 3)))


class Normal:
    """Innovation of tokens and prompts, their calibration, and a threshold for each template.

    Parameters
    ----------
    alpha : float
        Of right answers, of normal prompts and of normal tokens at most this share is flagged.

    Attributes
    ----------
    tokens : Familiar or None
    prompts : dict of template to Familiar
    reference : Tensor or None
        Entropies of normal tokens, ascending.
    seen : set of tuple of int
        Prompts that were fitted.
    ranks : GroupedRanks or None
    templates : dict of template to Template
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.tokens: Familiar | None = None
        self.prompts: dict[Hashable, Familiar] = {}
        self.reference: Tensor | None = None
        self.seen: set[tuple] = set()
        self.ranks: GroupedRanks | None = None
        self.templates: dict[Hashable, Template] = {}

    # ---- learning ----

    def fit(self, trace: GuardTrace, names: Sequence[Hashable]) -> None:
        """Learn from normal answers; what was calibrated before is forgotten."""
        _refuse_broken(trace)
        tokens = Familiar().fit(trace.sketch[trace.mask], "tokens of answers")
        prompts = {}
        for name in dict.fromkeys(names):
            rows = [i for i, other in enumerate(names) if other == name]
            what = "prompts" + ("" if name is None else f" of template {name!r}")
            prompts[name] = Familiar().fit(trace.prompt_sketch[rows], what)
        self.tokens, self.prompts = tokens, prompts
        self.reference = trace.entropy[trace.mask].double().sort().values
        self.seen = set(trace.prompts)
        self.ranks, self.templates = None, {}

    def calibrate(
        self,
        trace: GuardTrace,
        names: Sequence[Hashable],
        correct: Tensor | None,
        method: Method,
        confidence: float,
    ) -> None:
        """Take thresholds, and probabilities where wrong answers are known."""
        _refuse_broken(trace)
        again = sum(prompt in self.seen for prompt in trace.prompts)
        if again:
            raise GuardError(
                f"pairs: {again} of {len(trace)} prompts were used in fit; they look more usual "
                "than new ones inside the model, so calibrate on others"
            )
        right = torch.ones(len(trace), dtype=torch.bool, device="cpu")
        right = right if correct is None else correct
        templates = {}
        for name in dict.fromkeys(names):
            rows = [i for i, other in enumerate(names) if other == name]
            templates[name] = Template(
                name,
                self.judge(trace.rows(rows)),
                right[rows],
                correct is not None,
                self.alpha,
                method,
                confidence,
                self.familiar(name),
                self.reference,
            )
        if self.tokens is not None:
            kept = trace.mask & right[:, None]
            groups = torch.arange(len(trace), device="cpu")[:, None].expand_as(kept)[kept]
            self.ranks = GroupedRanks(self.tokens.score(trace.sketch[kept]), groups)
        self.templates = templates

    def familiar(self, name: Hashable) -> Familiar | None:
        """Prompts of that template as fitted; of all where templates were not told apart."""
        if name in self.prompts or not self.prompts:
            return self.prompts.get(name)
        if list(self.prompts) == [None]:
            return self.prompts[None]
        raise GuardError(
            f"templates: {name!r} was not fitted (fitted: {', '.join(map(repr, self.prompts))}); "
            "give fit and calibrate the same templates"
        )

    # ---- judging ----

    def judge(self, trace: GuardTrace) -> GuardTrace:
        """The trace with innovation, p-values and states filled in."""
        state = torch.full_like(trace.tokens, STARTING)
        innovation, p_value = trace.innovation.clone(), trace.p_value.clone()
        if self.tokens is not None and bool(trace.mask.any()):
            sketches = trace.sketch[trace.mask]
            innovation[trace.mask] = self.tokens.innovation(sketches)
            if self.ranks is not None:
                p_value[trace.mask] = self.ranks.p_values(self.tokens.score(sketches))
                state[trace.mask] = NORMAL
                state[p_value <= self.alpha] = ALERT
        state[invalid(trace)] = INVALID
        return replace(trace, innovation=innovation, p_value=p_value, state=state)

    def token_p_values(self, sketch: Tensor) -> Tensor:
        """Unfamiliarity ``(B,)`` of one token of each row, from sketches ``(B, L, r)``."""
        if self.tokens is None or self.ranks is None:
            return torch.full((len(sketch),), torch.nan, dtype=torch.float64, device="cpu")
        return self.ranks.p_values(self.tokens.score(sketch))

    def template(self, name: Hashable) -> Template | None:
        """What was calibrated under that name; the only template if none is named."""
        if name is None and len(self.templates) == 1:
            return next(iter(self.templates.values()))
        return self.templates.get(name)

    def doubt(self, trace: GuardTrace, names: Sequence[Hashable], score: str) -> Doubt:
        """Both lamps for every row."""
        if not self.templates:
            raise NotFittedError("doubt: call guard.calibrate(pairs) with right answers first")
        known = list(map(repr, self.templates))
        rows: list[tuple] = [()] * len(trace)
        for name in dict.fromkeys(names):
            index = [i for i, other in enumerate(names) if other == name]
            template = self.template(name)
            if template is None and name is None:
                raise GuardError(
                    f"template: several were calibrated ({', '.join(known)}); say which one these "
                    "answers belong to, or give DeepDriftGuard(template_of=...)"
                )
            part = trace.rows(index)
            found = (
                [unknown_template(part, i, name, known) for i in range(len(part))]
                if template is None
                else template.doubt(part, score)
            )
            for i, row in zip(index, found, strict=True):
                rows[i] = row
        return as_doubt(rows)


def _refuse_broken(trace: GuardTrace) -> None:
    """Refuse normal answers that are empty, or on which the model breaks down."""
    empty = (trace.lengths == 0).nonzero()[:, 0].tolist()
    if empty:
        raise GuardError(
            f"pairs: {len(empty)} of {len(trace)} answers have no token, the first is pair "
            f"{empty[0]}; leave them out"
        )
    bad = invalid(trace).any(dim=1) | ~trace.prompt_sketch.isfinite().all(dim=(1, 2))
    if bool(bad.any()):
        raise GuardError(
            f"pairs: logits or hidden states of {int(bad.sum())} of {len(trace)} answers are NaN "
            f"or infinite, the first is pair {int(bad.nonzero()[0])}; look for broken weights, or "
            "load the model in float32"
        )
