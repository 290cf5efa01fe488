"""Weights are data: they come back as they were, and nothing else is taken for them."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import microtomo
from microtomo.errors import MicrotomoError
from microtomo.models.architectures import build_network
from microtomo.models.scans.network import NetworkConfig, SemNetwork
from microtomo.models.weights import load_network, read_card, save_weights, start_from
from microtomo.registry import list_methods

NAMES = [m.name for m in list_methods(task="layers") if m.learned]


def saved(path, name="conv3", **settings):
    torch.manual_seed(1)
    network = build_network(
        NetworkConfig(architecture=name, **{"width": 4, "head": "posterior", "forward": "published", **settings})
    ).eval()
    save_weights(path, network, {"seed": 1})
    return network


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_back(tmp_path, name):
    network = saved(tmp_path / "w.safetensors", name)
    back = load_network(tmp_path / "w.safetensors", SemNetwork)
    assert back.config == network.config
    assert read_card(tmp_path / "w.safetensors")[1] == {"seed": 1}
    signal, noise = 1 + 0.1 * torch.rand(1, 31, 16, 16), torch.tensor([0.02])
    with torch.inference_mode():
        torch.testing.assert_close(back(signal, noise), network(signal, noise), rtol=0.02, atol=0.02)


def test_weights_serve_reconstruct(tmp_path):
    saved(tmp_path / "w.safetensors", input="components")
    signal = np.ones((31, 16, 16), dtype=np.float32)
    rec = microtomo.reconstruct(signal, "conv3", forward="published", noise=0.02, weights=tmp_path / "w.safetensors")
    assert isinstance(rec.thickness, np.ndarray)
    assert rec.volume.shape == (16, 16, 16)
    assert rec.chi_square.shape == rec.status.shape == (16, 16)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"method": "unet"}, "are of conv3: use --method conv3"),
        ({"forward": "material"}, "for forward model published, not material"),
        ({"energies_kev": [float(e) for e in range(6, 37)]}, "31 energies, 5..35 keV"),
    ],
)
def test_weights_for_something_else_are_refused(tmp_path, given, sentence):
    saved(tmp_path / "w.safetensors")
    settings = {"method": "conv3", "forward": "published", "noise": 0.02, **given}
    with pytest.raises(MicrotomoError, match=sentence):
        microtomo.reconstruct(np.ones((31, 8, 8)), **settings, weights=tmp_path / "w.safetensors")


def test_truncated_foreign_and_harmful_files_are_refused_in_one_sentence(tmp_path):
    good = tmp_path / "good.safetensors"
    saved(good)
    cut, text, other = (tmp_path / f"{n}.safetensors" for n in ("cut", "text", "other"))
    cut.write_bytes(good.read_bytes()[:-1000])
    text.write_text("not weights at all")
    save_file({"a": torch.zeros(3)}, other)
    for path in (cut, text):
        with pytest.raises(MicrotomoError, match="no complete safetensors file"):
            load_network(path, SemNetwork)
    with pytest.raises(MicrotomoError, match="no weights file of microtomo"):
        load_network(other, SemNetwork)
    with pytest.raises(MicrotomoError, match="no such file"):
        load_network(tmp_path / "none.safetensors", SemNetwork)
    harmful = tmp_path / "harmful.safetensors"
    ran = tmp_path / "ran"

    class Harm:
        def __reduce__(self):
            return ran.touch, ()

    harmful.write_bytes(pickle.dumps(Harm()))
    with pytest.raises(MicrotomoError, match="no complete safetensors file"):
        load_network(harmful, SemNetwork)
    assert not ran.exists()


def test_tensors_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    saved(path)
    tensors = load_file(path)
    config = NetworkConfig(architecture="conv3", width=4, head="posterior").model_dump(mode="json")

    def written(tensors, **settings):
        told = json.dumps({"config": {**config, **settings}, "card": {}})
        save_file(tensors, path, metadata={"microtomo": told})
        return path

    with pytest.raises(MicrotomoError, match="where conv3 has"):
        load_network(written(tensors, width=6), SemNetwork)
    with pytest.raises(MicrotomoError, match="tensors are not those of unet"):
        load_network(written(tensors, architecture="unet"), SemNetwork)
    with pytest.raises(MicrotomoError, match="does not know"):
        load_network(written(tensors, architecture="gnet"), SemNetwork)
    with pytest.raises(MicrotomoError, match="no card that fits"):
        load_network(written(tensors, width=10**9), SemNetwork)
    poisoned = {name: torch.full_like(v, torch.nan) if v.is_floating_point() else v for name, v in tensors.items()}
    with pytest.raises(MicrotomoError, match="not finite"):
        load_network(written(poisoned), SemNetwork)


def test_a_network_starts_from_the_weights_of_another(tmp_path):
    """Same body under another head and forward: the body is taken over, the last layer and the input are not."""
    old = saved(tmp_path / "w.safetensors", "unet", levels=1, input="components")
    torch.manual_seed(2)
    shape = {"architecture": "unet3d", "width": 4, "levels": 1, "input": "components", "contrast": "material"}
    new = build_network(NetworkConfig(**shape))
    last, project = new.body.last.weight.clone(), new.input.project.weight.clone()
    start_from(new, tmp_path / "w.safetensors")
    assert torch.equal(new.body.core.down[0][0][0].weight, old.body.core.down[0][0][0].weight.half().float())
    assert torch.equal(new.body.last.weight, last)
    assert torch.equal(new.input.project.weight, project)
    with pytest.raises(MicrotomoError, match="none of its tensors fits conv3"):
        start_from(build_network(NetworkConfig(architecture="conv3", width=6)), tmp_path / "w.safetensors")
