"""Small stacks, structures and inverse problems for the tests of the solvers."""

import torch

from microtomo.inverse.problem import Problem
from microtomo.materials import Layer, Stack, builtin_materials, load_stack
from microtomo.physics.forward import forward_model
from microtomo.simulate.scans import simulate_scan
from microtomo.voxels import default_depth

AU_AL = load_stack("au-al-si")
TWELVE = (4.0, 5.0, 6.0, 7.5, 9.0, 11.0, 13.0, 16.0, 19.0, 23.0, 28.0, 35.0)
RANGES = {"Au": 15.0, "Al": 150.0, "Ti": 60.0, "Cu": 20.0}


def stack_of(*symbols, energies_kev=AU_AL.energies_kev):
    m = builtin_materials()
    layers = tuple(Layer(material=m[s], max_nm=RANGES[s]) for s in symbols)
    return Stack(name="-".join(symbols), substrate=m["Si"], layers=layers, energies_kev=energies_kev)


def terraces(stack, height, width):
    """Thickness (l, y, x): layer k has 0, 1/3, 2/3 and 1 of its range in bands, along x and y in turn."""
    fields = []
    for k, nm in enumerate(stack.max_nm):
        size = (width, height, width)[k]
        band = torch.div(torch.arange(size) * (4 if k < 2 else 2), size, rounding_mode="floor") / 3
        fields.append((band if k != 1 else band[:, None]).expand(height, width) * nm)
    return torch.stack(fields).float()


def hills(stack, height, width):
    """Smooth thickness (l, y, x) between 20 % and 90 % of each range."""
    y = torch.linspace(0, 1, height)[:, None]
    x = torch.linspace(0, 1, width)
    shapes = [0.55 + 0.35 * torch.sin(3 * x + 2 * y), 0.55 + 0.35 * torch.cos(4 * y - 2 * x), 0.2 + 0.7 * x * y]
    return torch.stack([s.expand(height, width) * nm for s, nm in zip(shapes, stack.max_nm, strict=False)])


def problem_of(stack=AU_AL, forward="material", noise=0.02, samples=1):
    return Problem(forward_model(forward, stack), torch.full((samples,), noise), default_depth(stack))


def scan_of(thickness, stack=AU_AL, forward="material", noise=0.02, seed=0):
    """Signal of a float32 tensor (l, y, x) or (n, l, y, x) [nm]."""
    return simulate_scan(stack, thickness, forward=forward, noise=noise, seed=seed).data


def flat(*nm, height=1, width=1, dtype=torch.float32):
    return torch.tensor(nm, dtype=dtype)[:, None, None].expand(len(nm), height, width).contiguous()
