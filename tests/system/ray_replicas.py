"""Replicas for `test_ray.py`: actors of a Ray cluster that compile with inductor."""

from __future__ import annotations

import os
import time
from pathlib import Path

import ray
from ray import serve


@ray.remote(num_cpus=1)
class Replica:
    """One replica; each has a compile cache of its own, as on a machine of its own."""

    def __init__(self, number, directory, hang_s=0.0, threads=1):
        self._threads = threads
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{directory}/cache-{number}"
        os.environ["OMP_NUM_THREADS"] = "1"
        self._began = Path(directory) / f"began-{number}"
        self._hang_s = hang_s

    def warm(self, url, name="fleet"):
        """Warm up; return node, result, compiles, hits, misses, and whether it led."""
        import torch

        from compilespan import WarmupTarget, get_ledger
        from compilespan_service.ray import warm_replica

        torch.set_num_threads(self._threads)
        weight = torch.ones(8, 8)
        model = torch.compile(lambda x: (x @ weight).sin())

        @torch.no_grad()
        def run(shape):
            self._began.touch()
            model(torch.ones(shape["batch"], 8))
            time.sleep(self._hang_s)

        result = warm_replica([WarmupTarget("m", run, [{"batch": 4}])], cache=url, name=name)
        total = get_ledger().totals().total
        return {
            "node": ray.get_runtime_context().get_node_id(),
            "is_warm": result.is_warm,
            "misses": total.cache_misses,
            "hits": total.cache_hits,
            "rebuilds": total.cache_rebuilds,
            "waited_s": get_ledger().totals().cache.wait_s,
        }

    def pid(self):
        """Return its process."""
        return os.getpid()


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 1})
class Served:
    """A deployment that warms up in the one line that the docs show."""

    def __init__(self, directory, url):
        import torch

        from compilespan import WarmupTarget
        from compilespan_service.ray import warm_replica

        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{directory}/cache-{os.getpid()}"
        torch.set_num_threads(1)
        weight = torch.ones(8, 8)
        self._model = torch.compile(lambda x: (x @ weight).cos())
        warm_replica([WarmupTarget("m", self.run, [{"batch": 4}])], cache=url)

    def run(self, shape):
        """Call the model as a request does."""
        import torch

        with torch.no_grad():
            return self._model(torch.ones(shape["batch"], 8))

    def __call__(self):
        """Answer with the size of the result."""
        return list(self.run({"batch": 4}).shape)
