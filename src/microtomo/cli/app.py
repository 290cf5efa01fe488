"""The command line: verbs, error sentences, exit codes."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from microtomo.cli.say import say, tell
from microtomo.cli.signals import ending, ending_cleanly
from microtomo.errors import MicrotomoError, cause
from microtomo.inputs import MEMORY_VARIABLE

# threads that spin while they wait cost many times their work on a busy machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# a .numba_config.yaml in the current folder could name a folder of compiled code of anybody's making
os.environ.setdefault("NUMBA_CACHE_DIR", "")


class _Verbs(TyperGroup):
    """Runs a verb and turns what goes wrong into a sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        words = [*getattr(ctx, "_protected_args", ()), *ctx.args]
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (Exception, KeyboardInterrupt) as error:
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort):
                raise  # wrong usage and the like, for which typer has words
            if ctx.params.get("debug"):
                traceback.print_exc()
            message, code = _sentence(error, words)
            tell(message)
            raise typer.Exit(code) from None


def _sentence(error: BaseException, words: Sequence[str] = ()) -> tuple[str, int]:
    """The sentence for an error and the exit code; ``words`` are those of the command line."""
    if isinstance(error, KeyboardInterrupt):
        word, code = ending()
        return f"{word}: unfinished output was removed", code
    if isinstance(error, BrokenPipeError):
        # Nothing more can be written there; without this Python complains again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "error: the program that reads the output has stopped: output is incomplete", 1
    if isinstance(error, MicrotomoError):
        return f"error: {error}", 1
    if isinstance(error, MemoryError):
        return f"error: {_files(words)}out of memory: take fewer samples at a time (--batch 1) or a smaller image", 1
    if isinstance(error, OSError):
        what = f"{_files(words)}{error}" if error.filename is None else f"{error.filename}: {error.strerror}"
        return f"error: {what}: check path, permission and free space", 1
    name, said = type(error).__name__, cause(error)
    what = f"{_files(words)}unexpected {name}{'' if said == name else f': {said}'}"
    return f"error: {what}: run `microtomo --debug ...` and report what it says", 1


def _files(words: Sequence[str]) -> str:
    """Those words that are files or folders, to stand before a sentence."""
    names = [word for word in words if not word.startswith("-") and os.path.exists(word)]
    return f"{', '.join(names)}: " if names else ""


app = typer.Typer(
    name="microtomo",
    cls=_Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"microtomo {version('microtomo')}")
        raise typer.Exit()


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    memory_gb: Annotated[
        float | None,
        typer.Option(
            "--memory-gb", min=0, help="Memory that one array of an input may take; else 0.5 GB or 20 times its file."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Multi-energy backscatter SEM tomography: which material, how thick, at every pixel, with an error bar."""
    if memory_gb is not None:
        os.environ[MEMORY_VARIABLE] = str(memory_gb)  # which workers inherit


def _register() -> None:
    # Verb modules are light: what is heavy is imported inside the functions.
    from microtomo.cli.calibrate import calibrate
    from microtomo.cli.compare import compare
    from microtomo.cli.demo import demo
    from microtomo.cli.design import design
    from microtomo.cli.doctor import doctor
    from microtomo.cli.evaluate import evaluate
    from microtomo.cli.explain import explain
    from microtomo.cli.export import export
    from microtomo.cli.generate import generate
    from microtomo.cli.import_ import import_
    from microtomo.cli.measure import measure
    from microtomo.cli.models import models
    from microtomo.cli.reconstruct import reconstruct
    from microtomo.cli.reduce import compress, expand, sort
    from microtomo.cli.render import render
    from microtomo.cli.reproduce import reproduce
    from microtomo.cli.segment import segment
    from microtomo.cli.signal import signal as draw_signal
    from microtomo.cli.texts import RegistryHelp
    from microtomo.cli.train import train
    from microtomo.cli.verify import verify
    from microtomo.cli.view import view

    scans = (demo, design, generate, calibrate, train, reconstruct, evaluate, compare, render, export, view)
    micrographs = (segment, sort, compress, expand)
    for verb in (*scans, *micrographs, explain, verify, models, doctor):
        app.command(cls=RegistryHelp)(verb)
    app.command("import", cls=RegistryHelp)(import_)
    app.command("signal", cls=RegistryHelp)(draw_signal)
    app.add_typer(measure, name="measure")
    app.add_typer(reproduce, name="reproduce")


_register()


def _warn(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """The package's own warnings as sentences on stderr, those of libraries as Python shows them."""
    own = Path(filename).is_relative_to(Path(__file__).parents[1])
    text = f"warning: {message}" if own else warnings.formatwarning(message, category, filename, lineno, line).rstrip()
    tell(*text.splitlines())


def _import_nothing_here() -> None:
    """Import nothing from the current folder, where data of others may lie, in this process and those it starts."""
    os.environ["PYTHONSAFEPATH"] = "1"
    if not sys.flags.safe_path and sys.path and Path(sys.path[0] or ".").resolve() == Path.cwd():
        del sys.path[0]  # python -m microtomo.cli.app put it there


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""

    if argv is None:
        _import_nothing_here()
    warned = warnings.showwarning
    warnings.showwarning = _warn
    try:
        with ending_cleanly():
            app(args=None if argv is None else list(argv), prog_name="microtomo")
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 1
    except KeyboardInterrupt as error:
        message, code = _sentence(error)
        tell(message)
        return code
    finally:
        warnings.showwarning = warned
    return 0


if __name__ == "__main__":
    sys.exit(main())
