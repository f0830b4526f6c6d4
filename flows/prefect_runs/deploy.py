"""The flows as deployments on a Prefect server, to be run by the workers of a work pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkPool
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.types.entrypoint import EntrypointType

from flows import stages
from flows.offline import api_configured
from flows.prefect_runs import orchestration
from flows.settings import Settings
from pipeline.errors import Fatal
from pipeline.interpreter import SAFE_PATH

DEPLOYED: tuple[Flow[..., Any], ...] = (orchestration.build, orchestration.export)


def deploy(settings: Settings, pool: str) -> str:
    """Register `build` and `export` for this corpus on the configured Prefect server, for the work pool `pool`.

    A worker's machine needs only geocorpus, the corpus folder and the credentials. Registering again replaces the
    settings. Raises `Fatal` when no server is configured or it has no such pool.
    """
    if not api_configured():
        raise Fatal(
            "no Prefect server is configured; run `prefect server start`, then "
            "`prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`, and deploy again."
        )
    stages.check(settings, "build")
    name = settings.folder.absolute().name
    with orchestration.api(), get_client(sync_client=True) as client:
        work_pool = _pool(client, pool)
        for flow in DEPLOYED:
            _register(flow, name, work_pool, _parameters(settings, work_pool))
    return "\n".join(
        [
            f"Deployed 'geocorpus build/{name}' and 'geocorpus export/{name}' to the work pool {pool!r}. Next:",
            f"  prefect worker start --pool {pool}    on the machine that is to work, if none runs yet",
            f"  prefect deployment run 'geocorpus export/{name}' --watch",
        ]
    )


def _pool(client: SyncPrefectClient, name: str) -> WorkPool:
    try:
        return client.read_work_pool(name)
    except ObjectNotFound as error:
        raise Fatal(
            f"the Prefect server has no work pool {name!r}; run `prefect work-pool create {name} --type process` first."
        ) from error


def _variables(pool: WorkPool) -> dict[str, Any]:
    """Variables that keep a run from importing from the folder that it starts in; none if the pool takes none."""
    known = pool.base_job_template.get("variables", {}).get("properties", {})
    return {"env": SAFE_PATH} if "env" in known else {}


def _parameters(settings: Settings, pool: WorkPool) -> dict[str, Any]:
    """The arguments of the flow. A worker process changes to this folder itself, so that relative paths hold.

    It must not start in this folder: Prefect puts the folder that it starts in first on the import path.
    """
    parameters: dict[str, Any] = {"settings": settings.parameters()}
    return parameters | ({"working_folder": str(Path.cwd())} if pool.type == "process" else {})


def _register(flow: Flow[..., Any], name: str, pool: WorkPool, parameters: dict[str, Any]) -> None:
    deployment = RunnerDeployment.from_flow(
        flow,
        name=name,
        parameters=parameters,
        work_pool_name=pool.name,
        job_variables=_variables(pool),
        tags=["geocorpus"],
        entrypoint_type=EntrypointType.MODULE_PATH,  # from the installed package: no code is copied or stored
    )
    deployment.apply()
