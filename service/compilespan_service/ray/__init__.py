"""Warm up the replicas of a Ray Serve deployment as one fleet (extra ``ray``).

    from compilespan import WarmupTarget
    from compilespan_service.ray import Fleet, warm_replica

    @serve.deployment(num_replicas=4)
    class Embedder:
        def __init__(self):
            self.model = torch.compile(load_model())
            targets = [WarmupTarget("embedder", self.run, [{"batch": 8}])]
            warm_replica(targets, cache="s3://bucket/cache")

One replica compiles, the others wait for it and load what it has published; a named actor decides
which one. A replica that autoscaling adds finds everything in the store. `Fleet` says how they are.
"""

from __future__ import annotations

try:
    import ray as ray
except ImportError as error:
    msg = (
        f"compilespan_service.ray needs modules that are not installed ({error}). "
        "Install them with: pip install 'compilespan[ray]'"
    )
    raise ImportError(msg) from None

from compilespan_service.ray.fleet import Fleet, FleetHealth
from compilespan_service.ray.replica import warm_replica

__all__ = ["Fleet", "FleetHealth", "warm_replica"]
