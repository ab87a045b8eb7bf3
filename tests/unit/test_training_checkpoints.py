import numpy as np
import pytest
from safetensors.numpy import save_file

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.training.checkpoints import read_checkpoints, write_checkpoints


def checkpoint(value: float) -> dict[str, np.ndarray]:
    return {
        "layer3.2.conv1.weight": np.full((2, 2, 3, 3), value, np.float32),
        "bn1.running_mean": np.full(3, -value, np.float64),
    }


def test_checkpoints_come_back_in_order_with_names_values_and_types(tmp_path):
    written = [checkpoint(float(epoch)) for epoch in range(1, 13)]
    write_checkpoints(written, tmp_path / "c.safetensors")
    found = read_checkpoints(tmp_path / "c.safetensors")
    assert len(found) == 12
    for before, after in zip(written, found, strict=True):
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            np.testing.assert_array_equal(after[name], tensor)
            assert after[name].dtype == tensor.dtype
            assert after[name].shape == tensor.shape


def test_a_thousand_epochs_and_more_come_back_in_order(tmp_path):
    write_checkpoints([{"w": np.array([epoch])} for epoch in range(1, 1103)], tmp_path / "c.safetensors")
    found = read_checkpoints(tmp_path / "c.safetensors")
    assert [int(tensors["w"][0]) for tensors in found] == list(range(1, 1103))


def test_the_same_checkpoints_give_the_same_bytes(tmp_path):
    for name in ("a.safetensors", "b.safetensors"):
        write_checkpoints([checkpoint(1.0), checkpoint(2.0)], tmp_path / name)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_truncated_file_is_one_line(tmp_path, kept):
    file = tmp_path / "c.safetensors"
    write_checkpoints([checkpoint(1.0)], file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(
        GlitchtraceError, match=r"c\.safetensors cannot be read .*delete it and run"
    ) as caught:
        read_checkpoints(file)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(GlitchtraceError, match=r"none\.safetensors does not exist"):
        read_checkpoints(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "keys", [["weight"], ["002/weight"], ["001/weight", "003/weight"], ["first/weight"], []]
)
def test_a_foreign_file_or_a_missing_epoch_is_refused(tmp_path, keys):
    save_file({key: np.zeros(2, np.float32) for key in keys}, tmp_path / "c.safetensors")
    with pytest.raises(GlitchtraceError, match="does not hold the checkpoints of epochs 1, 2"):
        read_checkpoints(tmp_path / "c.safetensors")
