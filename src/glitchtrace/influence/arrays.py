"""Factors of the closed form from what a library user has: arrays, or a torch module with a head and two loaders."""

import copy
import hashlib
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
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
    *,
    own: bool = False,
) -> Factors:
    """Factors of T checkpoints from arrays.

    ``features`` (n, d), or one array per checkpoint where training changes them; ``probabilities`` (n, K), (T, n, K) or
    a list of T; ``labels`` (n,) columns of the probabilities; the same of the validation samples; ``learning_rates``
    (T,) or one number, by default 1.  ``own``: nobody else writes into the arrays; others are copied, since factors are
    read whenever influence is asked for.  Raises GlitchtraceError where they do not fit together.
    """
    keep = _as_it_is if own else _copied
    train = _part("", features, probabilities, labels, keep)
    other = (validation_features, validation_probabilities, validation_labels)
    if all(map(operator.is_, other, (features, probabilities, labels))):
        validation = train
    else:
        validation = _part("validation ", *other, keep, beside=train)
    rates = doors.rates(1.0 if learning_rates is None else learning_rates, len(train.probabilities))
    return Factors(learning_rates=rates, batch_size=1, train=train, validation=validation)


def _copied(array: np.ndarray, given: Any) -> np.ndarray:
    """A copy of an array whose memory is that of what was given; what nobody can write into (a file) stays there."""
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    alone = array.base is None and array is not given
    return array if alone or not root.flags.writeable else array.copy()


def _as_it_is(array: np.ndarray, given: Any) -> np.ndarray:
    return array


def _part(
    name: str,
    features: Any,
    probabilities: Any,
    labels: np.ndarray,
    keep: Callable[[np.ndarray, Any], np.ndarray],
    beside: Part | None = None,
) -> Part:
    """One side of the influence, with as many checkpoints and columns as the other one has."""
    rows = len(labels)
    classes = None if beside is None else beside.probabilities[0].shape[1]
    several = doors.of_checkpoints(probabilities, f"{name}probabilities") or [probabilities]
    seen = doors.checkpoints(probabilities, f"{name}probabilities", rows=rows, classes=classes)
    seen = tuple(map(keep, seen, several))
    given = doors.of_checkpoints(features, f"{name}features") or [features]
    arrays = tuple(keep(doors.features(part, f"{name}features", rows=rows), part) for part in given)
    if beside is not None and len(seen) != len(beside.probabilities):
        raise GlitchtraceError(
            f"{name}probabilities are of {len(seen)} checkpoints, probabilities of {len(beside.probabilities)}; "
            "give the same checkpoints"
        )
    if beside is None and len(arrays) not in (1, len(seen)):
        raise GlitchtraceError(
            f"features are {len(arrays)} arrays; give {' or '.join(map(str, sorted({1, len(seen)})))} for these "
            f"{len(seen)} checkpoints"
        )
    if beside is not None and len(arrays) != len(beside.features):
        raise GlitchtraceError(
            f"{name}features are {len(arrays)} arrays and features {len(beside.features)}; give both once, or both "
            "for each checkpoint"
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
    module as it is.  The module is left in the state and the mode in which it came, graphs that wait for their backward
    pass stay good, and global generators stand where they stood.  Raises GlitchtraceError where the head is no linear
    layer or does not give the module's answer, for a module whose answer for a row is no function of this row, for a
    loader that draws (order or samples are others in another pass), and for checkpoints that are one and the same
    memory.
    """
    import torch

    from glitchtrace.training.device import global_generators_kept

    layer = head_layer(module, head)
    _check_values(module)
    loaders = {"train": train, "validation": validation}
    states = [None] if checkpoints is None else _states(module, checkpoints)
    _check_loaders(loaders, len(states))
    passes: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {"train": [], "validation": []}
    signs: dict[str, list[bytes]] = {}
    # Not inference mode: what the module keeps of its first pass must serve its next training step.
    with (
        global_generators_kept(),
        _generators_kept(loaders.values()),
        _kept(module, loads=checkpoints is not None) as restore,
        torch.no_grad(),
    ):
        for place, state in enumerate(states):
            origin = "the module" if state is None else f"checkpoints[{place}]"
            if state is not None:
                restore()  # what the module keeps beside its state is of the checkpoint before
                _load(module, state, origin)
            module.eval()
            _check_batch_norm(module)
            for part, loader in loaders.items():
                found, seen_signs = _pass(module, layer, loader, origin, twice=not signs)
                passes[part].append(found)
                if signs.setdefault(part, seen_signs) != seen_signs:
                    raise _draws(part)
        restore()
        for part, loader in loaders.items():
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
        own=True,
    )


def _check_values(module: "nn.Module") -> None:
    """Raise GlitchtraceError where a module has parameters without values."""
    from torch.nn.parameter import is_lazy

    for name, weight in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(weight):
            raise GlitchtraceError(
                f"the module: {name} has no shape before its first pass; pass a batch through the module"
            )
        if weight.is_meta:
            raise GlitchtraceError(
                f"the module: {name} lies on the device 'meta', without values; load the module on a real device"
            )


def _check_loaders(loaders: Mapping[str, Any], states: int) -> None:
    """Raise GlitchtraceError for what is no loader, and for one that cannot be passed as often as it must be."""
    for part, loader in loaders.items():
        if isinstance(loader, Iterator) and (states > 1 or loaders["train"] is loaders["validation"]):
            reason = f"{states} checkpoints need {states} passes" if states > 1 else "both parts need it"
            raise GlitchtraceError(
                f"the {part} loader is a {type(loader).__name__}, which can be passed once, and {reason}; "
                "give a list of its batches or a DataLoader"
            )
        if isinstance(loader, Iterable):
            continue
        if hasattr(loader, "__getitem__"):  # a data set of torch is no Iterable
            raise GlitchtraceError(
                f"the {part} loader is a {type(loader).__name__}, which gives single samples; "
                "give DataLoader(it, batch_size=256)"
            )
        raise GlitchtraceError(f"the {part} loader is missing; give influence(module, training, validation)")


def _check_batch_norm(module: "nn.Module") -> None:
    """Raise GlitchtraceError where a layer normalises by its batch although the module is in evaluation mode."""
    from torch.nn.modules.batchnorm import _BatchNorm

    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
            raise GlitchtraceError(
                f"the module: {name or 'it'} ({type(layer).__name__}) normalises by the batch in evaluation mode, so "
                "that a row's answer depends on the others; give it running statistics (track_running_stats=True)"
            )


@contextmanager
def _generators_kept(loaders: Iterable[Any]) -> Iterator[None]:
    """Leave generators that belong to loaders as they were: each pass draws from them, shuffled or not."""
    import torch

    owners = [owner for loader in loaders for owner in (loader, getattr(loader, "sampler", None))]
    given = [getattr(owner, "generator", None) for owner in owners]
    before = [(own, own.get_state()) for own in given if isinstance(own, torch.Generator)]
    try:
        yield
    finally:
        for own, state in before:
            own.set_state(state)


@contextmanager
def _kept(module: "nn.Module", *, loads: bool) -> Iterator[Callable[[], None]]:
    """Leave a module as it was: parameters, buffers, attributes and modes; the function that is given does it at once.

    Only tensors that were changed are written, since others may share their memory.  Their version counters are set
    back with their values, so that a graph that waits for its backward pass finds what it has saved.  ``loads``:
    whether states are loaded, which may hold more than tensors.
    """
    import torch
    from torch.autograd.grad_mode import _unsafe_preserve_version_counter

    parts = list(module.modules())
    plain = [own for own in parts if not isinstance(own, torch.jit.ScriptModule)]
    modes = [(own, own.training) for own in parts]
    tables = [own.__dict__ for own in plain]
    tables += [getattr(own, name) for own in plain for name in ("_parameters", "_buffers", "_modules")]
    entries = [(table, dict(table)) for table in tables]
    own_state = torch.nn.Module.get_extra_state
    extra = [own for own in plain if loads and type(own).get_extra_state is not own_state]
    extras = [(own, copy.deepcopy(own.get_extra_state())) for own in extra]
    values = [*module.parameters(), *module.buffers(), *(part for _, own in entries for part in own.values())]
    tensors = {
        id(value): value
        for value in values
        if torch.is_tensor(value)
        and value.layout == torch.strided
        and not (value.is_inference() or value.is_meta)
    }.values()
    copies = [(tensor, tensor.data, tensor.detach().clone(), tensor._version) for tensor in tensors]

    def restore() -> None:
        for own, state in extras:
            own.set_extra_state(copy.deepcopy(state))
        for table, before in entries:
            table.clear()
            table.update(before)
        for own, mode in modes:  # a part may be kept in another mode than the whole
            own.training = mode
        with torch.no_grad():
            for tensor, memory, value, version in copies:
                if tensor.data_ptr() != memory.data_ptr():
                    tensor.data = memory
                if tensor._version != version or not torch.equal(tensor, value):
                    tensor.copy_(value)

    with ExitStack() as versions:
        for tensor in tensors:
            versions.enter_context(_unsafe_preserve_version_counter(tensor))
        try:
            yield restore
        finally:
            restore()


def _states(module: "nn.Module", given: Any) -> list[Any]:
    """The states of the checkpoints; a copy of one that lies in the memory of the module, which loads the others."""
    if isinstance(given, str | Path):
        raise GlitchtraceError("checkpoints: a path; give a list of state dictionaries, [torch.load(path)]")
    if isinstance(given, Mapping):
        raise GlitchtraceError(
            "checkpoints: one mapping; give a list of state dictionaries, [state], or list(states.values())"
        )
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


def _load(module: "nn.Module", state: Any, origin: str) -> None:
    """Load the state of a checkpoint.  Raises GlitchtraceError for what is none of this module."""
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        remedy = _remedy(set(module.state_dict()), state)
        raise GlitchtraceError(f"{origin} is no state of the module ({reason}); {remedy}") from None


def _remedy(names: set[str], state: Any) -> str:
    """What to give in place of a state that does not have these names."""
    if isinstance(state, str | Path):
        return "give torch.load(path)"
    found = {name for name in state if isinstance(name, str)} if isinstance(state, Mapping) else set()
    for name in sorted(found):
        if isinstance(state[name], Mapping) and names & set(state[name]):
            return f"give its entry '{name}'"
    for longer, shorter, remedy in (
        (found, names, "take '{}' off its names"),
        (names, found, "put '{}' before its names"),
    ):  # wrapped by DataParallel or torch.compile when it was saved, or now
        first = min(shorter, default="")
        starts = {name.removesuffix(first) for name in longer if first and name.endswith("." + first)}
        for start in sorted(starts):
            if longer == {start + name for name in shorter}:
                return remedy.format(start)
    return "give module.state_dict()"


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
    if not linear and any(type(part).__name__ == "RecursiveScriptModule" for part in module.modules()):
        raise GlitchtraceError(
            "head: a scripted module shows no layers; give the module before torch.jit.script"
        )
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
    module: "nn.Module", layer: "nn.Linear", loader: Iterable[Any], origin: str, *, twice: bool
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], list[bytes]]:
    """Inputs of the head, class probabilities and labels of all samples of a loader, and a digest of each batch.

    ``twice``: pass the first batch twice.  Raises GlitchtraceError where it gets another answer.
    """
    import torch

    seen: list[Any] = []

    def keep(_: Any, places: tuple[Any, ...], names: Mapping[str, Any], __: Any) -> None:
        # A copy: another branch, the loader or a workspace may write into this memory afterwards.
        features = (places[0] if places else names["input"]).detach().clone()
        seen.append((features, torch.nn.functional.linear(features, layer.weight, layer.bias).detach()))

    place = next(module.parameters()).device
    handle = layer.register_forward_hook(keep, with_kwargs=True)
    rows, signs = [], []
    try:
        for number, batch in enumerate(loader):
            if not isinstance(batch, list | tuple) or len(batch) != 2 or not torch.is_tensor(batch[0]):
                raise GlitchtraceError(
                    f"batch {number} of a loader is no pair (inputs, labels) of a tensor and its labels; give such"
                )
            inputs, labels = batch
            seen.clear()
            answer = _answer(module, inputs, place, number)
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
            if number == 0 and twice:
                _answer(module, inputs, place, number)
                if not all(_same(*pair) for pair in zip(seen[0], seen[1], strict=True)):
                    raise GlitchtraceError(
                        "the module: it answers the same batch otherwise a second time, in evaluation mode; it must "
                        "neither draw (dropout without training=self.training, noise) nor keep state from pass to pass"
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


def _answer(module: "nn.Module", inputs: Any, place: Any, number: int) -> Any:
    """What a module answers to a batch, of which it is given a copy: it may work in place."""
    try:
        return module(inputs.to(place, copy=True))
    except RuntimeError as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise GlitchtraceError(
            f"batch {number}: the module fails on inputs of shape {tuple(inputs.shape)} and type {inputs.dtype}: "
            f"{reason[0]}; pass such a batch through the module by itself"
        ) from error


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


def _same(first: Any, second: Any) -> bool:
    """Whether two results agree up to what the order of sums may change."""
    import torch

    tolerance = max(8 * torch.finfo(first.dtype).eps, 1e-5)
    apart = (first.double() - second.double()).abs().max()
    return bool(apart <= tolerance * max(1.0, float(first.double().abs().max())))


def _whole(labels: Any) -> np.ndarray:
    """Labels of a batch as integers where they are whole numbers."""
    found, classes = doors.labels(labels)
    whole: np.ndarray = classes[found]
    return whole
