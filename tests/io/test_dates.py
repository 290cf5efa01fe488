"""The date of an image: in its name in several forms, else its file's."""

import os
from datetime import date

import pytest

from microtomo.io.dates import date_of


@pytest.mark.parametrize(
    "name", ["w_2026-11-21_3.tif", "20261121.png", "a2026_11_21b.tif", "lot 2026.11.21 x.tif", "99999999_20261121.tif"]
)
def test_a_date_in_the_name_counts(name):
    assert date_of(name) == date(2026, 11, 21)


@pytest.mark.parametrize("name", ["a.tif", "20261321.tif", "120261121.tif", "2026-11_21.tif"])
def test_without_one_it_is_the_files(tmp_path, name):
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (1_600_000_000, 1_600_000_000))
    assert date_of(tmp_path / name) == date(2020, 9, 13)
