"""The command line: a stage resumes when its command is typed again. An error is one sentence, and exit code 1 or 2."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from flows.extras import require
from flows.offline import api_configured, bypass_proxy
from flows.settings import load
from flows.terminal.modality_commands import modality_app
from pipeline.errors import Fatal, GeocorpusError
from training.evaluate.probe_chips import MOST_CHIPS

app = typer.Typer(
    name="geocorpus", no_args_is_help=True, pretty_exceptions_enable=False,
    help="Rebuild the MMEarth corpus from Earth Engine into Zarr v3, add modalities, pretrain encoders.",
)  # fmt: skip
sandbox_app = typer.Typer(no_args_is_help=True, help="The built-in local Earth Engine.")
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(modality_app, name="modality")

Config = Annotated[str, typer.Argument(help="A TOML file, a corpus folder, or a shipped configuration: demo, mmearth.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings as section.key=value.", metavar="[A.B=C]...")]
AsFlow = Annotated[bool, typer.Option("--prefect", help="Run as a Prefect flow (at once where none is configured).")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check, pull a few chips, estimate; write nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: JSON on standard output, JSON lines of progress.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"geocorpus {version('geocorpus')}")
        raise typer.Exit


@app.callback()
def _about(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options of the command itself, before any stage."""


def run_stage(name: str, config: str, overrides: list[str] | None, prefect: bool, as_json: bool) -> None:
    """Call a stage in this process, or as a Prefect flow with --prefect or when a Prefect API is configured."""
    from flows.terminal import run

    settings = load(config, overrides or [])
    runner = run.as_flow if prefect or name == "build" or api_configured() else run.at_once
    runner(name, settings, as_json)


def _stage(name: str, help_text: str) -> Callable[..., None]:
    def command(config: Config, overrides: Overrides = None, prefect: AsFlow = False, as_json: AsJson = False) -> None:
        run_stage(name, config, overrides, prefect, as_json)

    command.__doc__ = help_text
    return app.command(name)(command)


@app.command()
def sample(
    config: Config,
    overrides: Overrides = None,
    prefect: AsFlow = False,
    as_json: AsJson = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the allocation table and write nothing.")] = False,
) -> None:
    """Draw candidate locations over regions: locations.parquet and a picture, sample.png."""
    if not dry_run:
        run_stage("sample", config, overrides, prefect, as_json)
        return
    from flows.terminal.run import print_allocation

    print_allocation(load(config, overrides or []), as_json)


_stage("anchor", "Pin every location to its scenes and grid, and freeze the manifest.")
_stage("finalize", "Statistics, metadata and the report.")
_stage("build", "All of sample, anchor, export and finalize, as a Prefect flow.")
_stage("finetune", "Adapt an encoder to a layer of the corpus that has classes.")


@app.command()
def pretrain(
    config: Config,
    overrides: Overrides = None,
    prefect: AsFlow = False,
    as_json: AsJson = False,
    processes: Annotated[int | None, typer.Option(help="Start so many on this machine, one per GPU.")] = None,
) -> None:
    """Train an encoder on a corpus; under torchrun or SLURM, one of its processes."""
    more = [] if processes is None else [f"pretrain.processes={processes}"]
    run_stage("pretrain", config, [*(overrides or []), *more], prefect, as_json)


@app.command()
def export(
    config: Config,
    overrides: Overrides = None,
    prefect: AsFlow = False,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Pull pixels for everything that is missing, shard by shard."""
    if not dry_run:
        run_stage("export", config, overrides, prefect, as_json)
        return
    from flows.terminal import run

    run.dry(load(config, overrides or []), as_json)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="A run's folder, a checkpoint (a published one too), or an address.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    sha256: Annotated[str | None, typer.Option(help="What the source's bytes must have.")] = None,
) -> None:
    """Write an encoder as safetensors that stand alone, with timm's names and its bands and moments inside."""
    from flows.finetuning import convert as convert_weights

    typer.echo(convert_weights(source, target, sha256))


@app.command()
def probe(
    weights: Annotated[str, typer.Argument(help="A run's folder, a file of weights, or an address.")],
    label: Annotated[str, typer.Option(help="A layer of the corpus: its commonest class per chip, or its means.")],
    corpus: Annotated[Path | None, typer.Option(help="The corpus folder; the run's own by default.")] = None,
    chips: Annotated[int, typer.Option(min=2, help="At most so many chips of each split.")] = MOST_CHIPS,
) -> None:
    """Print what an encoder knows of a layer, beside random weights and plain band statistics."""
    from flows.probing import probe as probed

    typer.echo(probed(weights, label, corpus, chips))


@app.command()
def retry(
    folder: Annotated[Path, typer.Argument(help="A corpus folder.")], prefect: AsFlow = False, as_json: AsJson = False
) -> None:
    """Take up again what an export gave up (the same as exporting again), after saying what that is."""
    from pipeline.dead_letters import FAILED, DeadLetters

    for letter in DeadLetters(folder / FAILED).read()[:10]:
        typer.echo(f"{letter.location} lacks {', '.join(letter.layers)}: {letter.reason}", err=True)
    run_stage("export", str(folder), None, prefect, as_json)


@app.command()
def demo(
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """The whole of it on the built-in local Earth Engine: corpus, report, and a small pretrained encoder."""
    from flows.terminal import run

    require("train", "the demo, which ends with training,")
    run.as_flow("demo", load("demo", overrides or []), as_json)


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="A corpus folder.")], as_json: AsJson = False) -> None:
    """Where a corpus stands, and the next command."""
    from flows.terminal.status import read_status, show

    show(read_status(folder), as_json)


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="A corpus folder.")]) -> None:
    """Compare every stored object with the ledger's digest."""
    from flows.verify import verify as verify_corpus

    typer.echo(verify_corpus(folder))


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A corpus folder.")]) -> None:
    """Write the report page of a corpus again."""
    from exporters.report.report import write_report

    typer.echo(write_report(folder))


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False) -> None:
    """Look at this machine: versions, credentials, GDAL, torch, disk; paste it into a report of a fault."""
    from flows.doctor import doctor as doctors

    findings = doctors.examine()
    typer.echo(doctors.as_json(findings) if as_json else doctors.as_text(findings))
    raise typer.Exit(0 if doctors.healthy(findings) else 1)


@app.command()
def deploy(
    config: Config,
    pool: Annotated[str, typer.Option(help="A work pool of the configured Prefect server.")],
    overrides: Overrides = None,
) -> None:
    """Register build and export of a corpus on a Prefect server, for the workers of a work pool."""
    from flows.prefect_runs.deploy import deploy as deploy_to

    typer.echo(deploy_to(load(config, overrides or []), pool))


@sandbox_app.command()
def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 8765,
    seed: Annotated[int, typer.Option(help="Which planet.")] = 0,
    latency: Annotated[float, typer.Option(help="Seconds that every answer is held back.")] = 0.0,
    rasters: Annotated[Path | None, typer.Option(help="A folder of real rasters to serve.")] = None,
    index: Annotated[Path | None, typer.Option(help="The TOML file that says which raster is which asset.")] = None,
) -> None:
    """Run the local Earth Engine alone, for developing against Earth Engine offline."""
    from sandbox.service.main import catalog_of
    from sandbox.service.main import serve as serve_catalog

    try:
        catalog = catalog_of(seed, rasters, index)
    except (OSError, ValueError) as error:
        raise Fatal(f"the sandbox cannot start: {error}.") from error
    serve_catalog(catalog, port=port, latency_s=latency, seed=seed)


def main() -> None:
    """Entry point: a user sees one sentence, and a traceback only with GEOCORPUS_TRACEBACK set."""
    signal.signal(signal.SIGINT, _interrupted)
    bypass_proxy()
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except Fatal as error:
        _say(f"{error}", code=2)
    except GeocorpusError as error:
        _say(f"{error}" if "again" in f"{error}" else f"{error} Run the same command again to go on.", code=1)
    except BrokenPipeError:
        os._exit(141)  # the reader of our output has closed it, so no message can be shown
    except OSError as error:
        _say(f"{error.filename or 'a file'} cannot be used: {error.strerror or error}; mend that and go on.", code=2)
    except Exception as error:
        _explain(error)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    """Stop at once: a stopped run loses no more than a crashed one, which is nothing. Servers end with their parent."""
    # Bars hide the cursor. The text is written in a single call, as the handler may interrupt a print.
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    os.write(2, f"{show_cursor}\ngeocorpus: stopped; run the same command again to go on.\n".encode())
    os._exit(130)


def _explain(error: Exception) -> None:
    """Print the command line parser's message for a wrong use, or one sentence for a defect of ours."""
    if hasattr(error, "format_message"):
        _say(error.format_message(), code=2)
    if os.environ.get("GEOCORPUS_TRACEBACK"):
        raise error
    what = " ".join(str(error).split())
    _say(f"unexpected {type(error).__name__}: {what}; GEOCORPUS_TRACEBACK=1 shows where, please report it.", code=1)


def _say(text: str, code: int) -> None:
    print(f"geocorpus: {text}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
