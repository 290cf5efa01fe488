from collections import Counter

import pytest
import torch

from microtomo.errors import MicrotomoError
from microtomo.seeds import layer_seeds
from microtomo.simulate.dataset import STREAMS, DatasetConfig, load_config, make_sample


def test_defaults_are_the_published_scans():
    config = load_config(samples=1)
    assert (config.height, config.width, len(config.stack.energies_kev)) == (128, 128, 31)
    assert config.structures == {"perlin": 1}
    assert config.detector.noise == 0.02
    assert config.forward == "transport"


def test_no_layer_seed_occurs_twice_in_the_reference_set():
    config = load_config(train=9400, validation=1000, test=1000)
    seeds = [
        s for split, n in config.split_sizes.items() for i in range(n) for s in layer_seeds(7, STREAMS[split], i, 2)
    ]
    assert len(seeds) == 2 * 11400
    assert len(set(seeds)) == len(seeds)


def test_no_layer_field_occurs_twice():
    config = load_config(train=30, validation=30, test=30, height=24, width=24, structures={"continuous": 1})
    fields = [
        layer.numpy().tobytes()
        for split in config.split_sizes
        for i in range(30)
        for layer in make_sample(config, 0, split, i).thickness
    ]
    assert len(set(fields)) == 180


def test_a_sample_is_its_own():
    config = load_config(samples=5, height=20, width=20)
    other = load_config(samples=900, height=20, width=20, shard_samples=3)
    first, second = make_sample(config, 3, "", 4), make_sample(other, 3, "", 4)
    assert torch.equal(first.signal, second.signal)
    assert torch.equal(first.thickness, second.thickness)
    assert not torch.equal(first.signal, make_sample(config, 4, "", 4).signal)


def test_mixture_keeps_its_weights():
    config = load_config(samples=1, height=2, width=2, structures={"perlin": 1, "lithography": 2, "experimental": 1})
    kinds = Counter(make_sample(config, 0, "", i).kind for i in range(800))
    assert kinds["lithography"] == pytest.approx(400, abs=60)
    assert kinds["perlin"] == pytest.approx(200, abs=50)
    assert kinds["experimental"] == pytest.approx(200, abs=50)


def test_toml_then_options_then_overrides(tmp_path):
    path = tmp_path / "set.toml"
    path.write_text(
        'train = 7\nheight = 32\nstack = "thin.toml"\n'
        "[detector]\nnoise = 0.05\ngain = [2.0]\n[structures]\nperlin = 3\n"
    )
    (tmp_path / "thin.toml").write_text(
        'name = "thin"\nsubstrate = "Si"\nlayers = [{material = "Ti", max_nm = 20}]\nenergies_kev = [5, 10]\n'
    )
    config = load_config(path, ["detector.noise=0.1", "dtype=float16"], height=64, test=2, width=None)
    assert (config.train, config.test, config.height, config.width) == (7, 2, 64, 128)
    assert (config.detector.noise, config.detector.gain) == (0.1, (2.0,))
    assert config.stack.symbols == ("Ti",)
    assert config.structures == {"perlin": 3}
    assert config.dtype == "float16"


def test_configuration_survives_json():
    config = load_config(samples=3, structures={"perlin": 1, "lithography": 0.5}, detector__electrons_per_pixel=1000)
    again = DatasetConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert again.fingerprint(1) == config.fingerprint(1)
    assert config.fingerprint(2) != config.fingerprint(1)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["heigth=3"], "unknown key heigth; did you mean height"),
        (["detector.nois=3"], "unknown key detector.nois; did you mean noise"),
        (["detector.noise=-1"], "detector.noise: .*greater than or equal to 0"),
        (["structures.perln=1"], "unknown structure kind 'perln'; did you mean perlin"),
        (["structures.perlin=0"], "structures.perlin: .*greater than 0"),
        (["stack=gold"], "unknown stack 'gold'"),
        (["forward=phase"], "forward: unknown forward model 'phase'"),
        (["train=2"], "either samples or train"),
        (["detector.gain=[1, 2]"], "detector.gain has 2 values for 31 energies"),
        (["height.x=2"], "height is a single value"),
        (["noise"], "is no assignment"),
        (["dtype=int8"], "dtype"),
        (["height=0"], "height"),
    ],
)
def test_impossible_configurations_are_named(overrides, sentence):
    with pytest.raises(MicrotomoError, match=sentence):
        load_config(None, overrides, samples=1, height=8)


def test_unreadable_configuration_files(tmp_path):
    with pytest.raises(MicrotomoError, match=r"none\.toml: cannot be read"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("samples = = 3")
    with pytest.raises(MicrotomoError, match=r"bad\.toml: is not valid TOML"):
        load_config(tmp_path / "bad.toml")
    (tmp_path / "typo.toml").write_text("sample = 3")
    with pytest.raises(MicrotomoError, match=r"typo\.toml: unknown key sample; did you mean samples"):
        load_config(tmp_path / "typo.toml")


def test_shards_cover_every_sample_once():
    config = load_config(train=11, validation=4, shard_samples=4)
    shards = config.shards()
    assert [(s.split, s.number, s.start, s.stop) for s in shards] == [
        ("train", 0, 0, 4),
        ("train", 1, 4, 8),
        ("train", 2, 8, 11),
        ("validation", 0, 0, 4),
    ]


def test_sample_bytes_by_hand():
    config = load_config(samples=1)
    assert config.sample_bytes == pytest.approx(128 * 128 * (31 + 2) * 4, rel=1e-3)
    assert load_config(samples=1, dtype="float16").sample_bytes == pytest.approx(128 * 128 * (31 * 2 + 2 * 4), rel=1e-3)
