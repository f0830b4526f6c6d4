"""The flows as deployments on a Prefect server, for the workers of a work pool to run."""

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

    A worker needs geocorpus, the corpus folder and the credentials where it runs, and nothing else. Registering
    again replaces the settings. Raises `Fatal` when no server is configured or it knows no such pool.
    """
    if not api_configured():
        raise Fatal(
            "no Prefect server is configured; run `prefect server start`, then "
            "`prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`, and deploy again."
        )
    stages.check(settings)
    name = settings.folder.absolute().name
    with orchestration.api(), get_client(sync_client=True) as client:
        found = _pool(client, pool)
        for flow in DEPLOYED:
            _register(flow, name, found, _parameters(settings, found))
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
    """A run imports nothing from the folder that it starts in. A pool that takes no such variables is left alone."""
    known = pool.base_job_template.get("variables", {}).get("properties", {})
    return {"env": SAFE_PATH} if "env" in known else {}


def _parameters(settings: Settings, pool: WorkPool) -> dict[str, Any]:
    """What the flow is called with. A process enters this folder by itself, for the sake of relative paths.

    It must not start in it: Prefect imports a flow with the folder in which it finds itself first on the path.
    """
    plain: dict[str, Any] = {"settings": settings.model_dump(mode="json")}
    return plain | ({"working_folder": str(Path.cwd())} if pool.type == "process" else {})


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
