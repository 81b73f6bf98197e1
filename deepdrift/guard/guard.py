"""A guard beside a language model: is this answer doubtful, and may that question be asked here?"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Self

from torch import nn

from deepdrift.guard.checks import GuardError
from deepdrift.guard.decoder import Decoder
from deepdrift.guard.diagnosis import GuardDiagnosis, diagnose
from deepdrift.guard.doubt import Doubt
from deepdrift.guard.familiar import Sketch
from deepdrift.guard.keeping import load_guard, save_guard
from deepdrift.guard.normal import Normal
from deepdrift.guard.pairs import Pairs, as_correct, as_trace
from deepdrift.guard.roads import Roads
from deepdrift.guard.run import Run
from deepdrift.guard.trace import GuardTrace
from deepdrift.guard.wrong import Method

ALPHA = 0.05


class DeepDriftGuard(Roads):
    """Doubt and unfamiliarity for the answers of a causal language model.

    Doubt is the negative log-likelihood of the whole answer against a threshold that at most
    ``alpha`` of right answers exceed. Unfamiliarity is innovation over depth at the last token of
    the prompt: where a prompt does not look like those of the calibration inside the network, the
    threshold promises nothing and the doubt says so. Four roads give one `GuardTrace`: `read` for
    text that exists; calling the guard in a loop of your own; ``generate`` with
    `stopping_criteria` or `logits_processor`; `watch` around a loop that somebody else runs.

    The model is never changed: not its mode, its answers or the random numbers it draws.

    Parameters
    ----------
    model : nn.Module
        A decoder: token ids to logits ``(B, T, V)``. Of transformers, or your own.
    layers : sequence of str, optional
        Layers to watch. Default: its blocks, found by structure.
    rank : int
        Numbers kept of each layer's state for the unfamiliarity, 1 to 256.
    alpha : float
        Share of right answers, of normal prompts and of normal tokens that may be flagged.
        Default: 0.05, or that of a file that is loaded.
    template_of : callable, optional
        Names the template of a prompt, given as a list of token ids.

    Raises
    ------
    GuardError, LayerNotFoundError
        For encoder-decoders, and models or names without blocks.

    Examples
    --------
    >>> class Tiny(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.embed = nn.Embedding(5, 4)
    ...         self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    ...         self.head = nn.Linear(4, 5)
    ...     def forward(self, ids):
    ...         x = self.embed(ids)
    ...         for block in self.blocks:
    ...             x = block(x)
    ...         return 0 * self.head(x)  # knows nothing: each of five tokens is as likely
    >>> guard = DeepDriftGuard(Tiny())
    >>> guard.layers
    ('blocks.0', 'blocks.1')
    >>> trace = guard.read([1, 2], [3, 4, 0])
    >>> round(trace.nll.item(), 4)  # 3 log 5
    4.8283
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | None = None,
        *,
        rank: int = 32,
        alpha: float | None = None,
        template_of: Callable[[list[int]], Hashable] | None = None,
    ) -> None:
        if alpha is not None and (not isinstance(alpha, float) or not 0 < alpha < 1):
            raise GuardError(f"alpha: expected a share between 0 and 1, got {alpha!r}")
        self._given, self.template_of = alpha, template_of
        super().__init__(Decoder(model, layers), Sketch(rank))
        self._normal = Normal(ALPHA if alpha is None else alpha)

    @property
    def alpha(self) -> float:
        """Share of right answers, of normal prompts and of normal tokens that may be flagged."""
        return self._normal.alpha

    def fit(
        self,
        pairs: Pairs | GuardTrace,
        templates: Sequence[Hashable] | None = None,
        *,
        batch_size: int = 8,
    ) -> DeepDriftGuard:
        """Learn what right answers look like inside the model.

        Parameters
        ----------
        pairs : list of (prompt ids, answer ids), or a GuardTrace
            Normal and right; some 50 or more.
        templates : sequence, optional
            Names of the prompts' templates, each learnt by itself. Default: one for all, or what
            ``template_of`` says.
        """
        trace = as_trace(pairs, self.read, batch_size)
        self._normal.fit(trace, self._names(trace.prompts, templates))
        return self

    def calibrate(
        self,
        pairs: Pairs | GuardTrace,
        correct: Any = None,
        templates: Sequence[Hashable] | None = None,
        *,
        method: Method = "platt",
        confidence: float = 0.9,
        batch_size: int = 8,
    ) -> DeepDriftGuard:
        """Take thresholds from answers that were not fitted.

        Parameters
        ----------
        pairs : list of (prompt ids, answer ids), or a GuardTrace
            Without ``correct`` all are right, 1 / alpha - 1 or more in each template: of new right
            answers at most ``alpha`` exceed the threshold, on average over calibrations. The
            prompts calibrate the unfamiliarity in the same way.
        correct : sequence of bool, optional
            With right and wrong answers `doubt` states a probability of being wrong too.
        templates : sequence, optional
            As in `fit`.
        method : {"platt", "isotonic"}
            The curve of that probability: logistic, or rising steps for hundreds of answers.
        confidence : float
            Of the band around it.
        """
        trace = as_trace(pairs, self.read, batch_size)
        right = None if correct is None else as_correct(correct, len(trace))
        names = self._names(trace.prompts, templates)
        self._normal.calibrate(trace, names, right, method, confidence)
        return self

    def doubt(self, trace: GuardTrace, template: Any = None, score: str = "nll") -> Doubt:
        """Both lamps for the answers of a trace.

        Parameters
        ----------
        trace : GuardTrace
            From any road.
        template : hashable, or list of them
            Of all rows, or of each. Default: what ``template_of`` says, or the only one there is.
        score : str
            See `deepdrift.guard.scores.answer_score`.

        Raises
        ------
        NotFittedError
            Before `calibrate`.
        """
        names = template if isinstance(template, list) else None
        if names is None and template is not None:
            names = [template] * len(trace)
        trace = self._normal.judge(trace)
        return self._normal.doubt(trace, self._names(trace.prompts, names), score)

    # ---- keep ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned, after `fit` or `calibrate`, as one safetensors file.

        It holds token ids of prompts and answers, and no text; names of templates as they are.
        ``template_of`` is not in it: give it again to the guard that loads.

        Raises
        ------
        NotFittedError
            If nothing was learned.
        GuardError
            For a template's name that a file cannot keep, which is anything but a string, a number,
            None, or a tuple of these.
        ReferenceFileError
            If it cannot be written; a file that was there is left as it was.

        Examples
        --------
        >>> DeepDriftGuard(nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])).save("guard")
        Traceback (most recent call last):
        deepdrift.errors.NotFittedError: guard: call fit(pairs) or calibrate(pairs) before save
        """
        save_guard(path, self._normal, self._decoder, self._sketch.rank)

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Take over what another guard of the same kind of model has saved.

        An alpha that was given to this guard is kept, and the thresholds are taken for it from the
        answers in the file; else the file's is taken.

        Raises
        ------
        ReferenceFileError
            For a damaged file, and for that of another model, layers or rank. The guard then stays
            as it was.
        GuardError
            If the file's answers are too few for this guard's alpha.

        Warns
        -----
        UserWarning
            If the model has other weights than that of the file.

        Examples
        --------
        >>> import tempfile
        >>> class Tiny(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.embed = nn.Embedding(5, 4)
        ...         self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        ...         self.head = nn.Linear(4, 5)
        ...     def forward(self, ids):
        ...         return 0 * self.head(self.blocks[1](self.blocks[0](self.embed(ids))))
        >>> model = Tiny()
        >>> guard = DeepDriftGuard(model, alpha=0.5).calibrate([([1], [2]), ([3], [4])])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     guard.save(f"{folder}/guard.safetensors")
        ...     other = DeepDriftGuard(model).load(f"{folder}/guard.safetensors")
        >>> other.alpha, round(other.doubt(other.read([1], [0])).threshold.item(), 3)  # log 5
        (0.5, 1.609)
        """
        self._normal = load_guard(path, self._decoder, self._sketch.rank, self._given)
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._normal = copy.copy(self._normal)  # what a copy learns is its own

    def _names(
        self, prompts: Sequence[Sequence[int]], names: Sequence[Hashable] | None
    ) -> list[Hashable]:
        if names is None:
            of = self.template_of
            return [None if of is None else of(list(prompt)) for prompt in prompts]
        if isinstance(names, str) or len(names) != len(prompts):
            raise GuardError(
                f"templates: expected one name for each of {len(prompts)} answers, got "
                f"{names if isinstance(names, str) else len(names)!r}"
            )
        return list(names)

    def _judged(self, trace: GuardTrace) -> GuardTrace:
        return self._normal.judge(trace)

    def _said(self, run: Run) -> GuardDiagnosis:
        return diagnose(run, self._normal, self._names(run.prompts, None))
