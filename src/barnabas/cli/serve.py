"""`barnabas serve` and `barnabas dev`: run a broker in this process."""

import sys
from collections.abc import Sequence

import click

from barnabas.cli.serving import (
    DEV_DEFAULTS,
    EXIT_NOT_FOUND,
    EXIT_USAGE,
    MEMORY_DEFAULTS,
    NoConfiguration,
    Welcome,
    read_configuration,
    run,
)
from barnabas.config.effective import BrokerOptions, described
from barnabas.config.load import ConfigRefused, Loaded, number_of
from barnabas.config.tables import BROKER, options
from barnabas.process import LineWriter

DEV_FOLDER = "./.barnabas"


WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 128),
    metavar="N",
    help="Broker processes on the data folder, one for a core (barnabas.workers).",
)


def _flags(settings: Sequence[str], port: int | None, host: str, workers: int | None) -> dict[str, str]:
    flags: dict[str, str] = {}
    if workers is not None:
        flags["barnabas.workers"] = str(workers)
    if port is not None:
        flags["listeners"] = f"PLAINTEXT://{f'[{host}]' if ':' in host else host}:{port}"
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(
                f"--set takes NAME=VALUE, not {setting!r}, for example --set log.retention.hours=24"
            )
        flags[name.strip()] = value
    return flags


def _refused(error: ConfigRefused) -> int:
    for fault in error.faults:
        click.echo(f"barnabas: {fault}", err=True)
    return EXIT_NOT_FOUND if isinstance(error, NoConfiguration) else EXIT_USAGE


def _print_effective(loaded: Loaded) -> None:
    """As a .properties file: what is set as it is, defaults behind a #."""
    effective = BrokerOptions(loaded.values)
    for name, option in sorted(options(BROKER).items()):
        value = described(option, effective.get(name))
        if value is not None and not option.is_inert:
            escaped = value.replace("\\", "\\\\")
            click.echo(f"{'' if effective.is_set(name) else '#'}{name}={escaped}")


@click.command(
    epilog="""\b
Examples:
  barnabas serve --config server.properties
  barnabas serve --data /var/lib/barnabas --port 9092 --set log.retention.hours=24
  barnabas serve --data /var/lib/barnabas --workers 4
  barnabas serve --config server.properties --check
  barnabas serve --config server.properties --effective | grep -v ^#"""
)
@click.option(
    "--config", "path", metavar="FILE", help="A .properties file; Kafka's server.properties is accepted."
)
@click.option("--data", metavar="FOLDER", help="Data folder (log.dirs).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port for clients; 0 takes any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for --port.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A broker option; may be repeated."
)
@WORKERS
@click.option("--check", is_flag=True, help="Only say whether the configuration can be used.")
@click.option("--effective", is_flag=True, help="Only print the options in effect; defaults have a #.")
def serve(
    path: str | None,
    data: str | None,
    port: int | None,
    host: str,
    settings: Sequence[str],
    workers: int | None,
    check: bool,
    effective: bool,
) -> None:
    """Run a broker until SIGTERM or Ctrl-C."""
    flags = _flags(settings, port, host, workers)
    if data is not None:
        flags["log.dirs"] = data
    try:
        loaded = read_configuration(path, flags)
    except ConfigRefused as error:
        sys.exit(_refused(error))
    if effective:
        _print_effective(loaded)
        return
    if check:
        for warning in loaded.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(
            f"The configuration is good: {len(loaded.values)} options set, {len(loaded.inert)} without effect."
        )
        return
    folder = (loaded.values.get("log.dirs") or loaded.values.get("log.dir") or "").strip()
    if not folder:
        click.echo("barnabas: no data folder: give --data FOLDER, or log.dirs in the configuration", err=True)
        sys.exit(EXIT_USAGE)
    write = LineWriter(sys.stderr, loaded.values.get("barnabas.log.format", "text"))
    sys.exit(run(loaded, folder, {}, write))


@click.command(
    epilog="""\b
Examples:
  barnabas dev
  barnabas dev --memory
  barnabas dev --port 29092 --data ./events
  barnabas dev --workers 3"""
)
@click.option("--data", metavar="FOLDER", help="Data folder.  [default: ./.barnabas]")
@click.option("--memory", is_flag=True, help="No folder: what was written goes when the broker stops.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9092, show_default=True, help="Port for clients."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A broker option; may be repeated."
)
@WORKERS
def dev(
    data: str | None, memory: bool, port: int, host: str, settings: Sequence[str], workers: int | None
) -> None:
    """Run a broker for development: no configuration, data in ./.barnabas, groups start at once."""
    if memory and data is not None:
        raise click.UsageError("either --data or --memory")
    try:
        loaded = read_configuration(None, _flags(settings, port, host, workers))
    except ConfigRefused as error:
        sys.exit(_refused(error))
    if memory and number_of("barnabas.workers", loaded.values) > 1:
        raise click.UsageError(
            "--memory is one process's memory: leave out --workers, or leave out --memory and give --data FOLDER"
        )
    write = LineWriter(sys.stderr, loaded.values.get("barnabas.log.format", "text"))
    folder = None if memory else data or DEV_FOLDER
    defaults = MEMORY_DEFAULTS if memory else DEV_DEFAULTS
    sys.exit(run(loaded, folder, defaults, write, Welcome(sys.stdout)))
