import pytest
from pydantic import BaseModel, ConfigDict, Field

from microtomo.errors import MicrotomoError
from microtomo.settings import read_settings


class Beam(BaseModel):
    model_config = ConfigDict(extra="forbid")
    noise: float = Field(0.02, ge=0)
    energies: tuple[float, ...] = (5.0, 35.0)


class Job(BaseModel):
    model_config = ConfigDict(extra="forbid")
    stack: str = "au-al-si"
    samples: int = 3
    beam: Beam = Beam()


def read(tmp_path, text="", *overrides, **values):
    (tmp_path / "job.toml").write_text(text, encoding="utf-8")
    return read_settings(Job, tmp_path / "job.toml", overrides, **values)


def test_without_a_file_the_defaults_hold():
    assert read_settings(Job) == Job()


def test_a_value_goes_before_the_file_and_an_override_before_both(tmp_path):
    text = "samples = 4\n[beam]\nnoise = 0.1\n"
    assert read(tmp_path, text).samples == 4
    assert read(tmp_path, text, samples=5).samples == 5
    assert read(tmp_path, text, "samples=6", samples=5).samples == 6
    assert read(tmp_path, text, samples=None).samples == 4  # an option that was not given
    assert read(tmp_path, text, "beam.energies=[7, 8]").beam == Beam(noise=0.1, energies=(7, 8))
    assert read(tmp_path, text, beam__noise=0.3).beam.noise == 0.3


def test_a_text_needs_no_quotes(tmp_path):
    assert read(tmp_path, "", "stack=cr-au").stack == "cr-au"
    assert read(tmp_path, "", 'stack="cr-au"').stack == "cr-au"


def test_a_stack_stands_beside_the_file_that_names_it(tmp_path):
    assert read(tmp_path, 'stack = "mine.toml"').stack == str(tmp_path / "mine.toml")
    assert read(tmp_path, 'stack = "au-al-si"').stack == "au-al-si"
    assert read(tmp_path, "", "stack=mine.toml").stack == "mine.toml"  # of the command line: from where one stands


@pytest.mark.parametrize(
    ("text", "overrides", "sentence"),
    [
        ("sampels = 4", (), r"job\.toml: unknown key sampels; did you mean samples\?"),
        ("[beam]\nnoize = 1", (), r"unknown key beam\.noize; did you mean noise\?"),
        ("", ("beam.noise=-1",), r"beam\.noise: .*greater than or equal to 0"),
        ("samples = 'many'", (), "samples: .*integer"),
        ("samples = ", (), "is not valid TOML"),
        ("", ("samples",), "is no assignment: write --set"),
        ("", ("=3",), "is no assignment: write --set"),
        ("beam = 3", ("beam.noise=1",), r"cannot set beam\.noise: beam is a single value"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, overrides, sentence):
    with pytest.raises(MicrotomoError, match=sentence) as caught:
        read(tmp_path, text, *overrides)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_bytes_that_are_no_text_are_named(tmp_path):
    with pytest.raises(MicrotomoError, match=r"none\.toml: cannot be read"):
        read_settings(Job, tmp_path / "none.toml")
    (tmp_path / "job.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MicrotomoError, match=r"job\.toml: is no text in UTF-8"):
        read_settings(Job, tmp_path / "job.toml")
