"""Every error the package raises on purpose. Each one also is the builtin you would expect."""

from __future__ import annotations

import importlib
from types import ModuleType


class DeepDriftError(Exception):
    """Base class: ``except DeepDriftError`` catches all of ours and nothing else."""


class LayerNotFoundError(DeepDriftError, ValueError):
    """A layer name matches nothing in the model, or no layer could be chosen."""


class StateError(DeepDriftError, RuntimeError):
    """Hidden states are missing, have the wrong shape, or could not be recorded."""


class ForwardError(DeepDriftError, RuntimeError):
    """The model refused a batch during one of our own forward passes."""


class NotFittedError(DeepDriftError, RuntimeError):
    """A score was asked for before the data that define normal were seen."""


class CalibrationError(DeepDriftError, ValueError):
    """Normal data that cannot define a threshold: too few, empty, or not finite."""


class ReferenceFileError(DeepDriftError, ValueError):
    """A saved reference is damaged, of another format, or of another model."""


class MissingExtraError(DeepDriftError, ImportError):
    """An optional dependency is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it.

    Parameters
    ----------
    module : str
        Import name, dotted names allowed.
    extra : str
        Name of the extra in ``pyproject.toml``.

    Raises
    ------
    MissingExtraError
        If the module, or something it imports, is missing.

    Examples
    --------
    >>> require("math", "lab").sqrt(9)
    3.0
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is needed here and could not be imported ({error}); "
            f'install it with: pip install "deepdrift[{extra}]"'
        ) from error
