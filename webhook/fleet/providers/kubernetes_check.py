"""Tries what the kubernetes provider needs of a cluster: access, version, rights, image, a Job that is not created."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from webhook.fleet.providers import MintOrder, Offer, ProviderError, ProviderFinding
from webhook.fleet.providers import kubernetes_job as bodies
from webhook.fleet.providers.kubernetes_api import KubernetesApi
from webhook.fleet.providers.registry_image import node_image_finding
from webhook.provider_settings import KubernetesSettings

_FINISHED_JOBS_SINCE = (1, 21)
"""Version since which a cluster deletes finished Jobs by itself."""
_ROLE_HINT = "kubectl apply -f infra/kubernetes/yurt.yaml grants all that is needed, see docs/kubernetes.md"


@dataclass(frozen=True, slots=True)
class NeededRights:
    """What the control plane does with one resource of the workers' namespace."""

    group: str
    resource: str
    verbs: tuple[str, ...]


NEEDED_RIGHTS = (
    NeededRights("batch", "jobs", ("create", "delete", "list")),
    NeededRights("", "secrets", ("create", "delete")),
    NeededRights("", "pods", ("list",)),
    NeededRights("", "pods/log", ("get",)),
    NeededRights("", "events", ("list",)),
)
"""All that the provider does. Not among it: to read a Secret, or to make a Pod."""


async def findings(api: KubernetesApi, settings: KubernetesSettings, owner: str) -> Sequence[ProviderFinding]:
    """Return what was found out. Never raises."""
    try:
        server = await api.server()
        version = await api.call("GET", "/version")
        missing = await _missing(api, settings.namespace)
        rights = _rights_found(settings.namespace, missing)
        found = [*_version_found(server, str(version.get("gitVersion"))), rights]
        if not rights.ok:
            return found
        return [
            *found,
            *await asyncio.gather(node_image_finding(settings.image), _job_found(api, settings, owner)),
        ]
    except ProviderError as error:
        return [ProviderFinding(ok=False, message=error.message, hint=error.hint)]


def _version_found(server: str, version: str) -> Sequence[ProviderFinding]:
    found = [ProviderFinding(ok=True, message=f"Kubernetes {version} at {server}")]
    if (numbers := re.match(r"v(\d+)\.(\d+)", version)) and tuple(map(int, numbers.groups())) < _FINISHED_JOBS_SINCE:
        message = "the cluster is older than 1.21: only the control plane deletes finished Jobs"
        found.append(ProviderFinding(ok=True, message=message))
    return found


async def _missing(api: KubernetesApi, namespace: str) -> Sequence[str]:
    """The rights that the server denies."""
    wanted = [(rights, verb) for rights in NEEDED_RIGHTS for verb in rights.verbs]
    answers = await asyncio.gather(*(_is_allowed(api, namespace, rights, verb) for rights, verb in wanted))
    return [f"{verb} {one.resource}" for (one, verb), allowed in zip(wanted, answers, strict=True) if not allowed]


async def _is_allowed(api: KubernetesApi, namespace: str, rights: NeededRights, verb: str) -> bool:
    resource, _, subresource = rights.resource.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": rights.group, "resource": resource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**attributes, "subresource": subresource}},
    }
    answer = await api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
    return (answer.get("status") or {}).get("allowed") is True


def _rights_found(namespace: str, missing: Sequence[str]) -> ProviderFinding:
    if missing:
        message = f"these rights are missing in the namespace {namespace}: {', '.join(missing)}"
        return ProviderFinding(ok=False, message=message, hint=_ROLE_HINT)
    return ProviderFinding(ok=True, message=f"all rights are granted in the namespace {namespace}")


async def _job_found(api: KubernetesApi, settings: KubernetesSettings, owner: str) -> ProviderFinding:
    """Have the server try a Job, without creating it: namespace, quota and policies have their say."""
    order = MintOrder(f"{owner}-check-000000000000", "check", Offer("", Decimal(0)), "https://check.invalid", "")
    path = f"/apis/batch/v1/namespaces/{settings.namespace}/jobs"
    try:
        await api.call("POST", path, {"dryRun": "All"}, bodies.job(settings, owner, order))
    except ProviderError as error:
        return ProviderFinding(ok=False, message=f"a worker's Job is not taken: {error.message}", hint=error.hint)
    return ProviderFinding(ok=True, message=f"a Job with the image {settings.image} would be taken")
