"""Factors of the closed form from what a library user has: arrays, or a torch module with a head and two loaders."""

import copy
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
    validation = _part(
        "validation ", validation_features, validation_probabilities, validation_labels, beside=train
    )
    rates = doors.rates(1.0 if learning_rates is None else learning_rates, len(train.probabilities))
    return Factors(learning_rates=rates, batch_size=1, train=train, validation=validation)


def _part(
    name: str, features: Any, probabilities: Any, labels: np.ndarray, beside: Part | None = None
) -> Part:
    """One side of the influence, with as many checkpoints and columns as the other one has."""
    rows = len(labels)
    classes = None if beside is None else beside.probabilities[0].shape[1]
    seen = doors.checkpoints(probabilities, f"{name}probabilities", rows=rows, classes=classes)
    several = doors.of_checkpoints(features, f"{name}features")
    given = [features] if several is None else several
    arrays = tuple(doors.features(part, f"{name}features", rows=rows) for part in given)
    if beside is not None and len(seen) != len(beside.probabilities):
        raise GlitchtraceError(
            f"{name}probabilities are of {len(seen)} checkpoints, probabilities of {len(beside.probabilities)}; "
            "give the same checkpoints"
        )
    wanted = (1, len(seen)) if beside is None else (len(beside.features),)
    if len(arrays) not in wanted:
        raise GlitchtraceError(
            f"{name}features are {len(arrays)} arrays; give {' or '.join(map(str, wanted))} for these "
            f"{len(seen)} checkpoints"
        )
    width = (arrays if beside is None else beside.features)[0].shape[1]
    for array in arrays:
        if array.shape[1] != width:
            raise GlitchtraceError(
                f"{name}features have {array.shape[1]} columns, others {width}; give the same columns"
            )
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
    module as it is.  The module is left in the state and the mode in which it came.  Raises GlitchtraceError where the
    head is no linear layer or does not give the module's answer, for a loader that draws (order or samples are others
    in another pass), and for checkpoints that are one and the same memory.
    """
    import torch

    layer = head_layer(module, head)
    for part, loader in (("train", train), ("validation", validation)):
        if isinstance(loader, Iterable):
            continue
        if hasattr(loader, "__getitem__"):  # a data set of torch is no Iterable
            raise GlitchtraceError(
                f"the {part} loader is a {type(loader).__name__}, which gives single samples; "
                "give DataLoader(it, batch_size=256)"
            )
        raise GlitchtraceError(f"the {part} loader is missing; give influence(module, training, validation)")
    states = [None] if checkpoints is None else _states(module, checkpoints)
    before = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    modes = [(own, own.training) for own in module.modules()]
    passes: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {"train": [], "validation": []}
    signs: dict[str, list[bytes]] = {}
    try:
        module.eval()
        for place, state in enumerate(states):
            origin = "the module" if state is None else f"checkpoints[{place}]"
            if state is not None:
                try:
                    module.load_state_dict(state)
                except (RuntimeError, TypeError, AttributeError) as error:
                    reason = " ".join(str(error).split())
                    raise GlitchtraceError(
                        f"{origin} is no state of the module ({reason}); give module.state_dict()"
                    ) from None
            with torch.inference_mode():
                for part, loader in (("train", train), ("validation", validation)):
                    found, seen_signs = _pass(module, layer, loader, origin)
                    passes[part].append(found)
                    if signs.setdefault(part, seen_signs) != seen_signs:
                        raise _draws(part)
    finally:
        module.load_state_dict(before)
        for own, mode in modes:  # a part may be kept in another mode than the whole
            own.training = mode
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


def _states(module: "nn.Module", given: Any) -> list[Any]:
    """The states of the checkpoints; a copy of one that lies in the memory of the module, which loads the others."""
    states = list(given) if isinstance(given, Iterable) else []
    if not states:
        raise GlitchtraceError(
            "checkpoints: none is given; give a list of state dictionaries, or leave checkpoints= out"
        )
    own = set(_memory(module.state_dict()))
    memories = [_memory(state) for state in states]
    places: dict[tuple[int, ...], int] = {}
    for place, memory in enumerate(memories):
        first = places.setdefault(memory, place) if memory else place
        if first < place:
            raise GlitchtraceError(
                f"checkpoints[{first}] and checkpoints[{place}] lie in the same memory, so the later training "
                "overwrote the earlier state; keep copy.deepcopy(module.state_dict())"
            )
    return [
        state if own.isdisjoint(memory) else copy.deepcopy(state)
        for state, memory in zip(states, memories, strict=True)
    ]


def _memory(state: Any) -> tuple[int, ...]:
    """Where the tensors of a state lie."""
    tensors = state.values() if isinstance(state, Mapping) else ()
    return tuple(tensor.data_ptr() for tensor in tensors if hasattr(tensor, "data_ptr"))


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


def head_layer(module: "nn.Module", name: str | None = None) -> "nn.Linear":
    """The linear layer of this name, by default the last one.  Raises GlitchtraceError where there is none."""
    linear = _linear_layers(module)
    wanted = name if name is not None else (list(linear)[-1] if linear else None)
    if wanted not in linear:
        raise GlitchtraceError(
            f"head: there is no linear layer '{wanted}'; linear layers: {', '.join(linear) or 'none'}"
        )
    return linear[wanted]


def _linear_layers(module: "nn.Module") -> dict[str, "nn.Linear"]:
    from torch import nn

    return {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}


def _pass(
    module: "nn.Module", layer: "nn.Linear", loader: Iterable[Any], origin: str
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], list[bytes]]:
    """Inputs of the head, class probabilities and labels of all samples of a loader, and a digest of each batch."""
    import torch

    seen: list[Any] = []

    def keep(_: Any, places: tuple[Any, ...], names: Mapping[str, Any], __: Any) -> None:
        features = places[0] if places else names["input"]
        seen.append((features, torch.nn.functional.linear(features, layer.weight, layer.bias)))

    place = next(module.parameters()).device
    handle = layer.register_forward_hook(keep, with_kwargs=True)
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
            if len(seen) != 1:
                raise GlitchtraceError(
                    f"head: the module passes {len(seen)} times through this layer; name a layer that it passes once"
                )
            ((features, logits),) = seen
            if logits.ndim != 2:
                raise GlitchtraceError(
                    f"head: its output has shape {tuple(logits.shape)}; influence needs (samples, classes)"
                )
            if logits.shape[1] < 2:
                raise GlitchtraceError(
                    "head: it gives one number for a sample; influence needs one per class, at least two"
                )
            if not (features.isfinite().all() and logits.isfinite().all()):
                raise _not_finite(module, number, origin)
            if number == 0 and not any(_says(part, logits) for part in _tensors(answer)):
                raise GlitchtraceError(
                    "head: the module answers neither with the logits of this layer nor with their softmax or "
                    f"log-softmax; name the last layer of {', '.join(_linear_layers(module))}, or give arrays"
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


def _not_finite(module: "nn.Module", number: int, origin: str) -> GlitchtraceError:
    """What is to be said of a pass whose values are not finite."""
    lost = [name for name, weight in module.named_parameters() if not weight.isfinite().all()]
    if lost:
        return GlitchtraceError(
            f"{origin}: {lost[0]} holds a value that is not finite; give a state from before the training diverged"
        )
    return GlitchtraceError(
        f"batch {number}: the input or output of the head is not finite; drop, fill in or scale such inputs"
    )


def _tensors(answer: Any) -> list[Any]:
    """The tensors of what a module answers: one, or several side by side (a pair, a mapping, an object)."""
    if hasattr(answer, "isfinite"):
        return [answer]
    if isinstance(answer, Mapping):
        answer = answer.values()
    elif not isinstance(answer, list | tuple):
        answer = getattr(answer, "__dict__", {}).values()
    return [part for part in answer if hasattr(part, "isfinite")]


def _says(answer: Any, logits: Any) -> bool:
    """Whether an answer is the logits, but for a number that is the same for all classes, or their softmax."""
    import torch

    if answer.shape != logits.shape or not answer.is_floating_point():
        return False
    rounded = max(torch.finfo(part.dtype).eps for part in (answer, logits))
    tolerance = max(8 * rounded, 1e-5)
    given, wanted = answer.double(), logits.double()
    apart = (given - given.mean(1, keepdim=True)) - (wanted - wanted.mean(1, keepdim=True))
    largest = max(1.0, float(given.abs().max()), float(wanted.abs().max()))
    same = float(apart.abs().max()) <= tolerance * largest
    return same or float((given - torch.softmax(wanted, dim=1)).abs().max()) <= tolerance


def _whole(labels: Any) -> np.ndarray:
    """Labels of a batch as integers where they are whole numbers."""
    found, classes = doors.labels(labels)
    whole: np.ndarray = classes[found]
    return whole
