"""Fixtures of what there is to see: a stack, its maps, a scan and a reconstruction of them."""

import re

import pytest
import torch

from microtomo import Reconstruction, Scan, load_stack, simulate_scan, thickness_to_volume
from microtomo.materials import make_stack


@pytest.fixture(scope="session")
def stack():
    return load_stack("au-al-si")


@pytest.fixture(scope="session")
def three_layers():
    layers = [{"material": m, "max_nm": nm} for m, nm in (("Cr", 5), ("Au", 40), ("C", 20))]
    return make_stack({"name": "cr-au-c-si", "substrate": "Si", "layers": layers})


@pytest.fixture
def maps():
    """Au 3 nm (thinner than a voxel) on the left half, Al 60 nm on the upper left quarter and a pad on the right."""
    thickness = torch.zeros(2, 24, 32)
    thickness[0, :, :16] = 3
    thickness[1, :12, :12] = 60
    thickness[1, 16:20, 24:28] = 100
    return thickness


@pytest.fixture
def scan(stack, maps) -> Scan:
    return simulate_scan(stack, maps, forward="material", noise=0.02, seed=1)


@pytest.fixture
def rec(stack, maps, scan) -> Reconstruction:
    found = maps + torch.tensor([0.5, 4.0])[:, None, None]
    return Reconstruction(
        thickness=found,
        uncertainty=torch.ones_like(maps),
        volume=thickness_to_volume(found),
        chi_square=torch.ones(24, 32),
        status=torch.zeros(24, 32, dtype=torch.uint8),
        method="map",
        stack=stack,
        forward="material",
        noise=0.02,
    )


@pytest.fixture(scope="session")
def external():
    """Function that lists the addresses a browser would fetch for a page."""

    def find(page):
        pattern = r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)|url\(([^)]+)\)|(@import|\bimport\s.*\bfrom\b|\bfetch\()"""
        found = ["".join(groups) for groups in re.findall(pattern, page)]
        return [a for a in found if not a.startswith("data:")] + re.findall(r"https?://[^\s\"']+", page)

    return find
