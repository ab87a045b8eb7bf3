"""Factors of the closed form from what a library user has: arrays, or a torch module with a head and two loaders."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import doors
from glitchtrace.influence.factors import Factors, Part

if TYPE_CHECKING:
    from torch import nn

_ASKED_AGAIN = 256  # samples of a loader that is passed once, to see whether it gives them again


def class_codes(given: Any, columns: int, classes: Any = None, name: str = "labels") -> np.ndarray:
    """The columns (n,) int64 of probabilities that labels stand for.

    ``classes`` (K,): the label of each column, as ``classes_`` of scikit-learn; without it labels are the columns
    themselves, or as many different ones as there are columns, in their sorted order.  Raises GlitchtraceError for a
    label without a column.
    """
    found, own = doors.labels(given, name)
    if classes is None:
        if own.dtype.kind in "iu" and own.min() >= 0 and own.max() < columns:
            result: np.ndarray = own[found].astype(np.int64)
            return result
        if len(own) != columns:
            raise GlitchtraceError(
                f"{name}: {len(own)} different labels for {columns} columns of probabilities; give classes= in the "
                "order of the columns"
            )
        return found
    order = doors.class_names(classes, columns).tolist()
    missing = [label for label in own.tolist() if label not in order]
    if missing:
        raise GlitchtraceError(f"{name}: {missing[0]!r} is not among the classes {order}; give all classes")
    places = np.array([order.index(label) for label in own.tolist()], np.int64)
    translated: np.ndarray = places[found]
    return translated


def factors_of_arrays(
    features: Any,
    probabilities: Any,
    labels: np.ndarray,
    validation_features: Any,
    validation_probabilities: Any,
    validation_labels: np.ndarray,
    learning_rates: Any = None,
) -> Factors:
    """Factors of T checkpoints from arrays.

    ``features`` (n, d), or one array per checkpoint where training changes them; ``probabilities`` (n, K), (T, n, K) or
    a list of T; ``labels`` (n,) columns of the probabilities; the same of the validation samples; ``learning_rates``
    (T,) or one number, by default 1.  Raises GlitchtraceError where they do not fit together.
    """
    train = _part("", features, probabilities, labels)
    validation = _part("validation ", validation_features, validation_probabilities, validation_labels)
    rates = doors.rates(1.0 if learning_rates is None else learning_rates, len(train.probabilities))
    return Factors(learning_rates=rates, batch_size=1, train=train, validation=validation)


def _part(name: str, features: Any, probabilities: Any, labels: np.ndarray) -> Part:
    rows = len(labels)
    seen = doors.checkpoints(probabilities, f"{name}probabilities", rows=rows)
    several = doors.of_checkpoints(features, f"{name}features")
    given = [features] if several is None else several
    arrays = tuple(doors.features(part, f"{name}features", rows=rows) for part in given)
    return Part(arrays, seen, doors.codes(labels, seen[0].shape[1], f"{name}labels", rows=rows))


def factors_of_module(
    module: "nn.Module",
    train: Iterable[Any],
    validation: Iterable[Any],
    *,
    head: str | None = None,
    checkpoints: Sequence[Mapping[str, Any]] | None = None,
    learning_rates: Any = None,
) -> Factors:
    """Factors of a torch module whose last layer is linear.

    ``train`` and ``validation`` yield (inputs, labels), the same in the same order every time.  ``head``: the name of
    the last linear layer, by default the last one that there is.  ``checkpoints``: state dictionaries, by default the
    module as it is.  The module is left in the state and the mode in which it came.  Raises GlitchtraceError for a head
    that is no linear layer and for a loader that draws: order or samples are others in another pass.
    """
    import torch

    layer = _head(module, head)
    for part, loader in (("train", train), ("validation", validation)):
        if not isinstance(loader, Iterable):
            raise GlitchtraceError(
                f"the {part} loader is missing; give influence(module, training, validation)"
            )
    states = [None] if checkpoints is None else list(checkpoints)
    if not states:
        raise GlitchtraceError(
            "checkpoints: none is given; give state dictionaries, or leave checkpoints= out"
        )
    before = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    mode = module.training
    passes: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {"train": [], "validation": []}
    signs: dict[str, list[bytes]] = {}
    try:
        module.eval()
        for place, state in enumerate(states):
            if state is not None:
                try:
                    module.load_state_dict(state)
                except (RuntimeError, TypeError, AttributeError) as error:
                    reason = " ".join(str(error).split())
                    raise GlitchtraceError(
                        f"checkpoints[{place}] is no state of the module ({reason}); give module.state_dict()"
                    ) from None
            with torch.inference_mode():
                for part, loader in (("train", train), ("validation", validation)):
                    found, seen_signs = _pass(module, layer, loader)
                    passes[part].append(found)
                    if signs.setdefault(part, seen_signs) != seen_signs:
                        raise _draws(part)
    finally:
        module.load_state_dict(before)
        module.train(mode)
    for part, loader in (("train", train), ("validation", validation)):
        once = isinstance(loader, Iterator)  # cannot be asked again
        if len(states) == 1 and not once and not _gives_again(loader, signs[part]):
            raise _draws(part)
    parts = {part: tuple(zip(*found, strict=True)) for part, found in passes.items()}
    (features, seen, labels), (other, known, others) = parts["train"], parts["validation"]
    frozen = all(np.array_equal(features[0], array) for array in features) and all(
        np.array_equal(other[0], array) for array in other
    )
    return factors_of_arrays(
        features[0] if frozen else features,
        seen,
        labels[0],
        other[0] if frozen else other,
        known,
        others[0],
        learning_rates,
    )


def _draws(part: str) -> GlitchtraceError:
    return GlitchtraceError(
        f"the {part} loader gives other samples or another order every time; build it with shuffle=False, without a "
        "sampler or a transform that draws"
    )


def _gives_again(loader: Iterable[Any], signs: Sequence[bytes]) -> bool:
    """Whether a further pass begins with the same batches."""
    samples = 0
    for (inputs, labels), sign in zip(loader, signs, strict=False):
        if _sign(inputs, labels) != sign:
            return False
        samples += len(labels)
        if samples >= _ASKED_AGAIN:
            break
    return True


def _sign(inputs: Any, labels: Any) -> bytes:
    """A digest of a batch."""
    import torch

    total = hashlib.blake2b(digest_size=16)
    for part in (inputs, labels):
        values = part if torch.is_tensor(part) else torch.as_tensor(np.asarray(part))
        total.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.digest()


def _head(module: "nn.Module", name: str | None) -> "nn.Module":
    from torch import nn

    layers = dict(module.named_modules())
    linear = [key for key, layer in layers.items() if isinstance(layer, nn.Linear)]
    wanted = name if name is not None else (linear[-1] if linear else None)
    if wanted not in linear:
        raise GlitchtraceError(
            f"head: there is no linear layer '{wanted}'; linear layers: {', '.join(linear) or 'none'}"
        )
    result: nn.Module = layers[wanted]
    return result


def _pass(
    module: "nn.Module", layer: "nn.Module", loader: Iterable[Any]
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], list[bytes]]:
    """Inputs of the head, class probabilities and labels of all samples of a loader, and a digest of each batch."""
    import torch

    seen: list[Any] = []
    place = next(module.parameters()).device
    handle = layer.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    rows, signs = [], []
    try:
        for number, batch in enumerate(loader):
            if not isinstance(batch, list | tuple) or len(batch) != 2 or not hasattr(batch[0], "to"):
                raise GlitchtraceError(
                    f"batch {number} of a loader is no pair (inputs, labels) of a tensor and its labels; give such"
                )
            inputs, labels = batch
            seen.clear()
            try:
                answer = module(inputs.to(place))
            except RuntimeError as error:
                raise GlitchtraceError(
                    f"batch {number}: the module does not take inputs of shape {tuple(inputs.shape)} and type "
                    f"{inputs.dtype} ({str(error).splitlines()[0]}); give a loader of its inputs"
                ) from None
            if not seen:
                raise GlitchtraceError("head: the module does not pass through this layer; name another")
            features, logits = seen[-1]
            if logits.ndim != 2:
                raise GlitchtraceError(
                    f"head: its output has shape {tuple(logits.shape)}; influence needs (samples, classes)"
                )
            if logits.shape[1] < 2:
                raise GlitchtraceError(
                    "head: it gives one number for a sample; influence needs one per class, at least two"
                )
            if getattr(answer, "shape", logits.shape) != logits.shape:
                raise GlitchtraceError(
                    f"head: it gives {logits.shape[1]} numbers for a sample, the module {tuple(answer.shape[1:])}; "
                    "name the last layer"
                )
            chances = torch.softmax(logits.double(), dim=1)
            exact = logits.dtype in (torch.float32, torch.float64)
            kind = logits.dtype if exact else torch.float32  # NumPy has no bfloat16
            known = doors.codes(
                _whole(labels), logits.shape[1], f"labels of batch {number}", rows=len(inputs)
            )
            rows.append((features.to(kind).cpu().numpy(), chances.to(kind).cpu().numpy(), known))
            signs.append(_sign(inputs, labels))
    finally:
        handle.remove()
    if not rows:
        raise GlitchtraceError("a loader gives no sample; give at least one batch")
    seen_features, seen_chances, seen_labels = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return (seen_features, seen_chances, seen_labels), signs


def _whole(labels: Any) -> np.ndarray:
    """Labels of a batch as integers where they are whole numbers."""
    found, classes = doors.labels(labels)
    whole: np.ndarray = classes[found]
    return whole
