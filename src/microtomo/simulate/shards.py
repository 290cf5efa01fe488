"""Files of a data set: shards of samples, and an index that shows them as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch

from microtomo.errors import MicrotomoError
from microtomo.io.atomic import writing
from microtomo.io.hdf5 import open_hdf5
from microtomo.io.new_hdf5 import new_hdf5
from microtomo.io.nexus import ENTRY, INDEX, SAMPLES, SCAN, SIGNAL, THICKNESS, address, create_scan
from microtomo.io.seal import is_intact
from microtomo.seeds import layer_seeds
from microtomo.simulate.dataset import STREAMS, DatasetConfig, Sample, Shard, make_sample
from microtomo.simulate.workers import Advance, unobserved


@dataclass(frozen=True)
class ShardJob:
    """Writes one shard of a data set: a pure function of (configuration, seed, shard).

    The bytes are the same in whatever process, order or cluster it runs, and whatever ``threads`` make samples ahead.
    """

    config: DatasetConfig
    seed: int
    shard: Shard
    threads: int = 1

    @property
    def label(self) -> str:
        """Split and number of the shard."""
        return f"{self.shard.split} shard {self.shard.number}".strip()

    @property
    def weight(self) -> float:
        """Samples of the shard."""
        return float(self.shard.stop - self.shard.start)

    def done(self, folder: Path) -> bool:
        """Whether the file holds exactly this shard of this data set."""
        return is_complete(self.shard.path(folder), self.config, self.seed, self.shard)

    def run(self, folder: Path, advance: Advance = unobserved) -> None:
        """Write the shard under ``folder``, whole or not at all. Raises MicrotomoError where it cannot be written."""
        path = self.shard.path(folder)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_samples(
            path, self.config, self.seed, self.shard, lambda count: advance(count / self.weight), self.threads
        )


def write_samples(
    path: Path,
    config: DatasetConfig,
    seed: int,
    shard: Shard,
    on_sample: Callable[[int], None] | None = None,
    threads: int = 1,
) -> None:
    """Write samples start..stop of a split to one file, one sample a chunk; memory holds a few samples at a time."""
    count = shard.stop - shard.start
    with one_torch_thread(), new_hdf5(path, needs_bytes=count * config.sample_bytes) as (file, check):
        data, thickness = _create(file, config, seed, shard)
        kinds = file[address(SAMPLES, "kind")]
        for i, sample in enumerate(_samples(config, seed, shard, threads)):
            data[i] = sample.signal.numpy() if config.dtype == "float32" else _half(sample.signal)
            thickness[i] = sample.thickness.numpy()
            kinds[i] = sample.kind
            check()
            if on_sample is not None:
                on_sample(i + 1)


def write_index(config: DatasetConfig, seed: int, folder: Path, split: str) -> Path:
    """Write ``index.h5`` of a split: the layout of a shard, its arrays virtual over all shards, paths relative.

    A sample whose shard is missing reads as NaN.
    """
    shards = [shard for shard in config.shards() if shard.split == split]
    path = folder / split / INDEX
    with new_hdf5(path) as (file, _):
        _create(file, config, seed, Shard(split, 0, 0, shards[-1].stop))
        for place in ((SCAN, SIGNAL), (THICKNESS, SIGNAL), (SAMPLES, "kind")):
            dataset = file[address(*place)]
            layout = h5py.VirtualLayout(dataset.shape, dataset.dtype)
            layout.dcpl.set_obj_track_times(False)  # the same seed gives the same bytes
            for shard in shards:
                shape = (shard.stop - shard.start, *dataset.shape[1:])
                layout[shard.start : shard.stop] = h5py.VirtualSource(
                    shard.path(Path()).name, address(*place).lstrip("/"), shape, dataset.dtype
                )
            attributes = dict(dataset.attrs)
            group, own = dataset.parent, place[1]
            del group[own]
            fill = np.nan if dataset.dtype.kind == "f" else None
            group.create_virtual_dataset(own, layout, fillvalue=fill).attrs.update(attributes)
    return path


def is_complete(path: Path, config: DatasetConfig, seed: int, shard: Shard) -> bool:
    """Whether a file holds exactly this shard of this data set, each byte as it was written."""
    try:
        with open_hdf5(path) as file:
            entry = file[ENTRY]
            # what versions without checksums wrote is not written again for the lack of them
            intact = is_intact(path) or not entry[f"{SCAN}/{SIGNAL}"].fletcher32
            return bool(
                intact
                and entry.attrs["config_hash"] == config.fingerprint(seed)
                and entry[f"{SCAN}/{SIGNAL}"].shape[0] == shard.stop - shard.start
                and entry[f"{SCAN}/sample"][0] == shard.start
                and entry.attrs["split"] == shard.split
            )
    except (MicrotomoError, OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError):
        return False


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch to one thread: many small operations side by side stall each other otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _samples(config: DatasetConfig, seed: int, shard: Shard, threads: int) -> Iterator[Sample]:
    """Samples of a shard in order, made ahead by a few threads (the kernels release the interpreter)."""
    numbers = range(shard.start, shard.stop)
    if threads == 1:
        yield from (make_sample(config, seed, shard.split, i) for i in numbers)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Sample]] = deque()
        try:
            for i in numbers:
                waiting.append(pool.submit(make_sample, config, seed, shard.split, i))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _half(signal: torch.Tensor) -> np.ndarray:
    rounded = signal.to(torch.float16)
    if not bool(torch.isfinite(rounded).all()):
        raise MicrotomoError("a signal above 65504 does not fit float16: use float32, or check the detector's gain")
    return np.asarray(rounded.numpy())


def _create(file: h5py.File, config: DatasetConfig, seed: int, shard: Shard) -> tuple[h5py.Dataset, h5py.Dataset]:
    stack, count = config.stack, shard.stop - shard.start
    attributes = {
        "config": config.model_dump(mode="json"),
        "config_hash": config.fingerprint(seed),
        "seed": seed,
        "split": shard.split,
        "stack": stack,
        "contrast": config.forward,
        "noise": config.detector.relative_noise,
        "pixel_nm": config.pixel_nm,
    }
    data, thickness = create_scan(
        file,
        (count, len(stack.energies_kev), config.height, config.width),
        config.dtype,
        energies_kev=stack.energies_kev,
        pixel_nm=config.pixel_nm,
        attributes=attributes,
        layers=len(stack.layers),
        first_sample=shard.start,
    )
    samples = file[ENTRY].create_group(SAMPLES)
    samples.attrs["NX_class"] = "NXcollection"
    stream, layers = STREAMS[shard.split], len(stack.layers)
    seeds = [layer_seeds(seed, stream, i, layers) for i in range(shard.start, shard.stop)]
    samples.create_dataset("layer_seeds", data=np.array(seeds, dtype=np.uint64))
    samples.create_dataset("split", data=np.full(count, shard.split, dtype="S10"))
    samples.create_dataset("kind", shape=(count,), dtype="S12")
    assert thickness is not None
    return data, thickness
