"""Looks through HDF5 files in a process of its own, which a damaged or hostile file may hang or crash.

Run as a script by :mod:`microtomo.io.guard`, with the seconds that a file may take; it needs h5py alone. Each line of
the input is JSON, ``[current folder, path, follows]``; each line of the output is JSON, a sentence that says why the
file must not be opened, or null. ``follows`` says that the reader lets HDF5 open files behind a virtual data set.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

import h5py

MEMORY_BYTES = 4 * 2**30
"""Address space of this process."""
_MOST_FILES = 64
"""Files that may hang together by links."""


class Refused(Exception):
    """The file must not be opened; the message says why."""


def inspect(path: str, follows: bool) -> None:
    """Look through a file and those that it links to. Raises Refused, and what h5py raises for damaged ones."""
    waiting, seen = [os.path.realpath(path)], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if len(seen) > _MOST_FILES:
            raise Refused(f"links to more than {_MOST_FILES} files")
        folder = os.path.dirname(name)
        with h5py.File(name, "r") as file:
            for kind, target in _targets(file, follows):
                waiting += _inside(folder, kind, target)


def _inside(folder: str, kind: str, target: str) -> list[str]:
    """The file that a file in ``folder`` names, where HDF5 may follow. Raises Refused for one outside of it."""
    resolved = os.path.realpath(os.path.join(folder, target))
    if os.path.commonpath([folder, resolved]) != folder:
        raise Refused(f"takes {kind} from {target}, outside its folder, which is never read: copy that file beside it")
    if not os.path.exists(resolved):
        if kind == "objects" and os.path.exists(target):  # where HDF5 looks next
            raise Refused(f"takes {kind} from {target} in the current folder, not beside it: copy that file there")
        return []
    if not os.path.isfile(resolved):
        raise Refused(f"takes {kind} from {target}, which is no file")
    return [resolved] if kind == "objects" else []


def _targets(file: h5py.File, follows: bool) -> Iterator[tuple[str, str]]:
    """Names of other files in a file, with what is taken from them; reads every attribute on the way."""
    groups, seen = [file["/"]], set[Any]()
    while groups:
        group = groups.pop()
        _read_attributes(group)
        for name in group.id:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield "objects", link.filename
            if not isinstance(link, h5py.HardLink):
                continue
            item = group.get(name)
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                _read_attributes(item)
                yield from _behind(file, item, follows)


def _read_attributes(item: Any) -> None:
    for name in item.attrs:
        try:
            item.attrs[name]
        except (TypeError, ValueError, UnicodeError):  # of a type that Python has none for
            continue


def _behind(file: h5py.File, data: h5py.Dataset, follows: bool) -> Iterator[tuple[str, str]]:
    """Names of files that hold the values of a data set."""
    properties = data.id.get_create_plist()
    if properties.get_external_count():  # which HDF5 looks for in the current folder, not beside the file
        name = os.fsdecode(properties.get_external(0)[0])
        raise Refused(f"keeps values in another file, {name}, which is never read: h5repack it into one")
    if data.chunks is not None:
        data.id.get_num_chunks()
    if not data.is_virtual:
        return
    if follows:
        raise Refused(f"holds the virtual data set {data.name}, which is not read here: save it without")
    names = {properties.get_virtual_filename(i) for i in range(properties.get_virtual_count())}
    for name in sorted(names - {"."}):
        yield "values", name


def _answer(path: str, follows: bool) -> str | None:
    try:
        inspect(path, follows)
    except Refused as error:
        return str(error)
    except MemoryError:
        return "needs more memory to be looked through than any file of images: copy or write it again"
    except Exception:  # what is damaged is told when it is read, with the reader's own words
        return None
    return None


def main() -> None:
    """Answer one line after the other until there are none; the kernel ends what takes too long."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        here, path, follows = json.loads(line)
        os.chdir(here)
        signal.alarm(int(sys.argv[1]))
        answer = _answer(path, follows)
        signal.alarm(0)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
