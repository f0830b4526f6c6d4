"""The command line: a stage resumes when its command is typed again. An error is one sentence, and exit code 1 or 2."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flows.extras import require
from flows.offline import api_configured, bypass_proxy
from flows.settings import as_typed, load, shipped
from flows.terminal.fewshot_command import fewshot
from flows.terminal.map_commands import embed, predict
from flows.terminal.modality_commands import modality_app
from flows.terminal.own_code import place_of
from flows.terminal.search_command import plot, search
from pipeline.errors import Fatal, GeocorpusError, unknown_name
from pipeline.stopping import install
from training.evaluate.probe_chips import MOST_CHIPS

# As a person needs them: the corpus, what is made of it, then this machine. Others follow by name.
_ORDER = (
    "demo", "build", "sample", "anchor", "export", "finalize", "status", "view", "retry", "verify", "report", "upgrade",
    "modality", "pretrain", "finetune", "probe", "fewshot", "predict", "embed", "search", "plot", "import", "convert",
    "merge", "publish", "doctor", "sandbox", "deploy",
)  # fmt: skip
_DEMOS = ("sensors",)  # beside the one without a name


class _InOrder(TyperGroup):
    """The commands in the order of their use, which help shows."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands."""
        return sorted(super().list_commands(ctx), key=lambda name: (*_ORDER, name).index(name))


app = typer.Typer(
    name="geocorpus", cls=_InOrder, no_args_is_help=True, pretty_exceptions_enable=False,
    help="Rebuild the MMEarth corpus from Earth Engine into Zarr v3, add modalities, pretrain encoders.",
)  # fmt: skip
sandbox_app = typer.Typer(no_args_is_help=True, help="The built-in local Earth Engine.")
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(modality_app, name="modality")


def _folder(text: str) -> Path:
    """The path; a variable of the shell without a value is not the working folder."""
    if not text:
        raise typer.BadParameter("it is empty; give the folder of a corpus, or . for the working folder.")
    return Path(text)


Config = Annotated[str, typer.Argument(help="A TOML file, a corpus folder, or a shipped one: demo, mmearth, sensors.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings as section.key=value.", metavar="[A.B=C]...")]
AsFlow = Annotated[bool, typer.Option("--prefect", help="Run as a Prefect flow (at once where none is configured).")]
Folder = Annotated[Path, typer.Argument(parser=_folder, metavar="FOLDER", help="A corpus folder.")]
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
_stage(
    "finetune",
    "Adapt an encoder to a layer of the corpus, or a column of yours, of classes or of numbers; or to finetune.data.",
)


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


def _list_ways_out(to: str | None) -> str | None:
    """Print the formats for "help", whatever else is typed or not."""
    if to == "help":
        from flows.terminal.exchange_commands import ways_out

        typer.echo(ways_out())
        raise typer.Exit
    return to


def _list_ways_in(form: str | None) -> str | None:
    """Print the formats for "help", whatever else is typed or not."""
    if form == "help":
        from flows.terminal.exchange_commands import ways_in

        typer.echo(ways_in())
        raise typer.Exit
    return form


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="With --to, a corpus folder. Else a run, a checkpoint or an address.")],
    target: Annotated[Path, typer.Argument(help="What to write: without --to, a .safetensors file.")],
    sha256: Annotated[str | None, typer.Option(help="What the bytes of the weights must have.")] = None,
    geometry: Annotated[
        str | None, typer.Option(help="Of weights: sparse, published-classifier or published-unet.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(is_eager=True, callback=_list_ways_out, help="A format for chips; --to help lists them."),
    ] = None,
    rows: Annotated[str, typer.Option(help="Of these rows, such as 0:100,250.")] = "",
    place: Annotated[list[str] | None, typer.Option(help="Of the chip at lon,lat or with this id; repeatable.")] = None,
    where: Annotated[str, typer.Option(help="Of chips such as \"split == 'val' and biome in [1, 4]\".")] = "",
    layer: Annotated[list[str] | None, typer.Option(help="Of this layer; repeatable. All without it.")] = None,
    options: Annotated[list[str] | None, typer.Option("--set", help="An option of the format, key=value.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a target that exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write chips of a corpus in another format; or, without --to, an encoder as safetensors that stand alone."""
    if to is None:
        from flows.finetuning import convert as convert_weights

        typer.echo(convert_weights(source, target, sha256, geometry))
        return
    from flows.terminal import exchange_commands

    chosen = exchange_commands.Choice(rows, place or (), where, layer or ())
    exchange_commands.convert(Path(source), target, to, chosen, options or (), overwrite, as_json)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(parser=_folder, metavar="SOURCE", help="A file or folder to read.")],
    folder: Folder,
    overrides: Overrides = None,
    form: Annotated[
        str | None,
        typer.Option("--from", is_eager=True, callback=_list_ways_in, help="Its format; --from help lists them."),
    ] = None,
    options: Annotated[list[str] | None, typer.Option("--set", help="An option of the format, key=value.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a corpus of what has another format; the same command goes on with one that was stopped."""
    from flows.terminal import exchange_commands

    exchange_commands.import_corpus(source, folder, form, options or (), overrides or (), as_json)


@app.command()
def merge(
    corpora: Annotated[list[Path], typer.Argument(help="Two corpus folders or more.", metavar="FIRST SECOND...")],
    target: Annotated[Path, typer.Argument(help="The folder of the new corpus.")],
    layer: Annotated[list[str] | None, typer.Option(help="Of this layer; repeatable. All without it.")] = None,
    keep_first: Annotated[bool, typer.Option("--keep-first", help="Leave repeated and overlapping chips out.")] = False,
    buffer_m: Annotated[
        float | None, typer.Option(min=0, help="Report chips of different splits closer than so many metres.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which order of the rows.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a target that exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make several corpora one: all their chips in a new order, with the layers of all."""
    from flows.terminal import merge_command

    how = merge_command.Merger(layer or (), keep_first, seed=seed)
    merge_command.merge(corpora, target, how, buffer_m, overwrite, as_json)


@app.command()
def publish(
    folder: Folder,
    target: Annotated[Path, typer.Argument(help="The folder to write: a data set with records for catalogues.")],
    about: Annotated[Path | None, typer.Option(help="A TOML file; by default publish.toml of the corpus.")] = None,
    title: Annotated[str | None, typer.Option(help="Of the data set.")] = None,
    creator: Annotated[list[str] | None, typer.Option(help="'Family, Given', or a group; repeatable.")] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX identifier for what is yours, such as CC-BY-4.0.")] = None,
    url: Annotated[str | None, typer.Option(help="Where the data set will be.")] = None,
    data_version: Annotated[str | None, typer.Option("--version", help="Of the data set; 1.0.0 by default.")] = None,
    doi: Annotated[str | None, typer.Option(help="Such as 10.5281/zenodo.1.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="Publish this column of yours; repeatable.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Shards get second names on their disk: no copies.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a target that exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a finished corpus as a data set for others: card, licences, STAC, Croissant, citation, checksums."""
    from flows.terminal.publish_command import publish as publish_corpus

    creators = [{"name": name} for name in creator or ()]
    said = {"title": title, "creators": creators, "licence": licence, "url": url, "version": data_version, "doi": doi,
            "columns": column}  # fmt: skip
    given = {key: value for key, value in said.items() if value}
    publish_corpus(folder, target, about, given, link, overwrite, as_json)


@app.command()
def probe(
    weights: Annotated[str, typer.Argument(help="A run's folder, a file of weights, or an address.")],
    label: Annotated[
        str | None,
        typer.Option(help="A layer (its commonest class per chip, or its means), or a column of yours."),
    ] = None,
    corpus: Annotated[Path | None, typer.Option(help="The corpus folder; the run's own by default.")] = None,
    chips: Annotated[int, typer.Option(min=2, help="At most so many chips of each split.")] = MOST_CHIPS,
    data: Annotated[
        str | None,
        typer.Option(help="In place of a corpus: geobench:FOLDER, eurosat:FOLDER, folder:FOLDER or table:FILE."),
    ] = None,
    options: Annotated[list[str] | None, typer.Option("--set", help="How --data is read, key=value.")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for the scores of --data, as JSON and CSV.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what an encoder knows of a layer or a benchmark, beside random weights and plain band statistics."""
    from flows.terminal import probe_command

    if data is not None:
        probe_command.of_data(weights, data, label, options or (), out, as_json)
        return
    probe_command.of_corpus(weights, label, corpus, chips, as_json)


app.command()(fewshot)
app.command()(predict)
app.command()(embed)
app.command()(search)
app.command()(plot)


@app.command()
def retry(folder: Folder, prefect: AsFlow = False, as_json: AsJson = False) -> None:
    """Take up again what an export gave up (the same as exporting again), after saying what that is."""
    from pipeline.corpus_folder import MANIFEST, no_corpus
    from pipeline.dead_letters import FAILED, DeadLetters

    if not (folder / MANIFEST).exists():
        raise no_corpus(folder)
    for letter in DeadLetters(folder / FAILED).read()[:10]:
        typer.echo(f"{letter.location} lacks {', '.join(letter.layers)}: {letter.reason}", err=True)
    run_stage("export", as_typed(folder), None, prefect, as_json)


@app.command()
def demo(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="sensors for the second system; then settings.", metavar="[NAME] [A.B=C]..."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The whole of it on the built-in local Earth Engine: corpus, report, and a small pretrained encoder."""
    from flows.terminal import run

    name, overrides = _demo_of(words or [])
    require("train", "the demo, which ends with training,")
    run.as_flow(name, load(str(shipped()[name]), overrides), as_json)


def _demo_of(words: list[str]) -> tuple[str, list[str]]:
    """The configuration of the demo that is asked for, which is that of its flow as well, and the settings after it."""
    if not words or "=" in words[0]:
        return "demo", words
    if words[0] not in _DEMOS:
        raise unknown_name("demo", words[0], _DEMOS)
    return f"demo-{words[0]}", words[1:]


@app.command()
def status(folder: Folder, as_json: AsJson = False) -> None:
    """Where a corpus stands, and the next command."""
    from flows.terminal.status import read_status, show

    show(read_status(folder), as_json)


@app.command()
def verify(
    folder: Folder,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be; mark missing what is lost.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare all that is stored with the digests kept of it, and say what mends each fault."""
    from flows import verify as verifying
    from flows.progress.progress_file import live

    with live(as_json, folder) as progress:
        outcome = (verifying.repair if repair else verifying.verify)(folder, progress)
    verifying.show(outcome, as_json)


@app.command()
def upgrade(folder: Folder, as_json: AsJson = False) -> None:
    """Put checksums behind the chips of a corpus that an older release made; nothing is pulled again."""
    from flows.progress.progress_file import live
    from flows.upgrade import upgrade as upgrade_corpus

    with live(as_json, folder) as progress:
        message = upgrade_corpus(folder, progress)
    typer.echo(json.dumps({"folder": str(folder), "done": message}) if as_json else message)


@app.command()
def report(folder: Folder) -> None:
    """Write the report page of a corpus again."""
    from exporters.report.report import write_report

    typer.echo(write_report(folder))


@app.command()
def view(
    folder: Folder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in this machine's browser.")
    ] = True,
    chip: Annotated[str, typer.Option(help="Id or row of a chip that is open at the start.")] = "",
    run: Annotated[
        list[Path] | None, typer.Option(help="A training run that lies elsewhere; can be given again.")
    ] = None,
    embeddings: Annotated[Path | None, typer.Option(help="A store of `embed`: what looks alike.")] = None,
    clusters: Annotated[int, typer.Option(min=2, max=256, help="So many clusters of the embeddings.")] = 12,
    export: Annotated[Path | None, typer.Option(help="Write the page there as files for a web server instead.")] = None,
    chips: Annotated[int, typer.Option(min=1, help="So many chips with --export, biomes in turn.")] = 24,
) -> None:
    """Look at a corpus: a map of all places, filters, and every layer of a chip with the values under the cursor."""
    from flows.terminal import view_command

    if export:
        view_command.write_files(folder, export, chips)
        return
    beside = view_command.Beside(embeddings, clusters, tuple(run or ()))
    view_command.view(folder, port, browser, beside, chip)


@app.command()
def doctor(
    config: Annotated[str, typer.Argument(help="With --live: a corpus folder, a TOML file, or a shipped name.")] = "",
    overrides: Overrides = None,
    live: Annotated[bool, typer.Option("--live", help="Compare one chip with Earth Engine's stored pixels.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Look at this machine: versions, credentials, GDAL, torch, disk; paste it into a report of a fault."""
    from flows.doctor import doctor as doctors

    if live:
        from flows.terminal import live_command

        live_command.show(config or "mmearth", overrides or [], as_json)
    if config:
        raise Fatal("`geocorpus doctor` looks at this machine; --live compares a corpus's layers with Earth Engine.")
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
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8765,
    seed: Annotated[int, typer.Option(help="Which planet.")] = 0,
    latency: Annotated[float, typer.Option(min=0.0, help="Seconds that every answer is held back.")] = 0.0,
    rasters: Annotated[Path | None, typer.Option(help="A folder of real rasters to serve.")] = None,
    index: Annotated[Path | None, typer.Option(help="The TOML file that says which raster is which asset.")] = None,
    planet: Annotated[bool, typer.Option("--planet/--no-planet", help="Without it, the rasters alone.")] = True,
    kind: Annotated[bool, typer.Option("--kind", help="Without Earth Engine's limits of one request.")] = False,
) -> None:
    """Run the local Earth Engine alone, for developing against Earth Engine offline."""
    from sandbox.service.main import PortTaken, catalog_of, limits_of, why
    from sandbox.service.main import serve as serve_catalog

    try:
        catalog = catalog_of(seed, rasters, index, planet)
    except (OSError, ValueError) as error:
        raise Fatal(f"the sandbox cannot start: {why(error)}.") from error
    try:
        serve_catalog(catalog, port=port, latency_s=latency, seed=seed, limits=limits_of(kind))
    except PortTaken as error:
        raise Fatal(f"the sandbox cannot start: {error}.") from error


def main() -> None:
    """Entry point: a user sees one sentence, and a traceback only with GEOCORPUS_TRACEBACK set."""
    install()
    bypass_proxy()
    # Rasters without a place are refused by a sentence, or are read where they need none.
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
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


def _explain(error: Exception) -> None:
    """Print the command line parser's message for a wrong use, or one sentence for a defect: theirs or ours."""
    if hasattr(error, "format_message"):
        said, context = error.format_message(), getattr(error, "ctx", None)
        if context and not said.endswith("?"):
            said = f"{said.rstrip('.')}; `{context.command_path} --help` shows how it is used."
        _say(said, code=2)
    if os.environ.get("GEOCORPUS_TRACEBACK"):
        raise error
    what, place = f"{type(error).__name__}: {' '.join(str(error).split())}", place_of(error)
    if place:
        _say(f"{place}, ended with {what}; mend it there (GEOCORPUS_TRACEBACK=1 shows the way to it).", code=2)
    _say(f"unexpected {what}; GEOCORPUS_TRACEBACK=1 shows where, please report it.", code=1)


def _say(text: str, code: int) -> None:
    print(f"geocorpus: {text}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
