"""Choosing the engine (a project's own, a Ray cluster, or the session's processes) and device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stn_core.errors import UsageError
from stn_core.suite.command_line import XDIST_SESSION, CommandLine
from stn_core.suite.plan import read_plan

if TYPE_CHECKING:
    from stn_core.engines import Engine
    from stn_core.suite.context import SessionContext


def choose_engine(context: SessionContext) -> Engine:
    """The engine of a process that trains, made once the user's modules are imported.

    Args:
        context: the context of this process.

    Raises:
        UsageError: the cluster cannot be joined, or the project's engine does not fit the session.
    """
    from stn_core.engines import InProcess

    config, options = context.config, context.options
    if not (options.ray or config.hook.pytest_stn_engine.get_hookimpls()):
        return InProcess()
    from stn_core.engines.away import Surroundings

    surroundings = Surroundings.here(options.imports, CommandLine(config).folder("import"))
    own: Engine | None = config.hook.pytest_stn_engine(config=config, surroundings=surroundings)
    if own and own.is_elsewhere and (context.is_worker or options.against):
        own.close()
        other = "--against, which compares with what it trains here"
        if context.is_worker:  # each would submit all cells
            other = "-n, which spreads the runs over processes"
        line = f"the project's engine (pytest_stn_engine) computes elsewhere: leave out {other}"
        raise UsageError(line)
    if own or not options.ray:
        return own or InProcess()
    from stn_core.engines.cluster import Cluster
    from stn_core.engines.on_ray import RayExecutor
    from stn_core.engines.ray_joining import ClusterRequest

    request = ClusterRequest(
        address=options.ray,
        device=options.device,
        threads=options.threads,
        gpu_share=options.ray_gpus,
        working_dir=options.ray_working_dir,
        data_root=options.data_root,
        datasets=options.datasets,
        image_size=options.image_size,
    )
    return Cluster(RayExecutor(request, surroundings, tell=lambda line: context.tell([line])))


def choose_device(context: SessionContext) -> str:
    """Where a process computes: "cpu", "cuda:1"; on other machines only the type counts.

    xdist's first process makes no engine to find out: it leaves the tests to others.

    Args:
        context: the context of this process.

    Raises:
        UsageError: there is no such device, the cluster cannot be joined, or the plan to resume is
            damaged.
    """
    from stn_core.training.devices import resolve_device

    options = context.options
    if options.ray and options.device != "auto":
        return options.device.partition(":")[0]
    if options.ray and context.only_plans and options.resumes:  # the cluster is not asked
        earlier = read_plan(options.results)
        if earlier:
            return earlier.device
    has_workers = XDIST_SESSION in context.config.stash
    trains = not (context.only_plans or options.from_records or has_workers)
    if trains and context.engine.device:
        return context.engine.device
    return str(resolve_device(options.device, worker_number(context.worker_input)))


def worker_number(worker_input: Mapping[str, Any]) -> int:
    """Which of xdist's workers this process is; 0 without workers."""
    return int(worker_input.get("workerid", "gw0").removeprefix("gw"))
