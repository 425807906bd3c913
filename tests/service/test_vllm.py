"""Our endpoints on an app that stands in for vLLM's; `tests/vllm` has the real one."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import threading
import time
from argparse import Namespace
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import PlainTextResponse, Response
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from compilespan import get_ledger
from compilespan.journal.writer import open_journal
from compilespan.ledger.active import CompileBegun
from compilespan.servers import vllm
from compilespan_service.reading.exposition import Exposition
from compilespan_service.vllm import CompileRoutes
from compilespan_service.vllm.endpoints import Endpoints, api_keys
from compilespan_service.vllm.exposed import _with_ours
from compilespan_service.vllm.free import REQUESTS
from compilespan_service.vllm.images import IMAGE_SIZES
from compilespan_service.vllm.plan import PROMPT_LENGTHS, Served, requests
from compilespan_service.vllm.transport import AppTransport
from serving import wait_until
from support import record

ARGUMENTS = {"model": "tiny", "served_model_name": None, "api_key": None}


def config(**parallel):
    return SimpleNamespace(
        model_config=SimpleNamespace(max_model_len=100, max_logprobs=20),
        scheduler_config=SimpleNamespace(max_num_seqs=8),
        parallel_config=SimpleNamespace(
            **{"data_parallel_size": 1, "data_parallel_external_lb": False, **parallel}
        ),
    )


class Theirs:
    """A server with vLLM's contract: it is built, endpoints are attached, then state is made."""

    def __init__(self, tasks=("embed",), *, keys=None, engine=True, root_path="", **parallel):
        self.asked = []
        self.args = Namespace(**{**ARGUMENTS, "api_key": keys})
        self.endpoints = Endpoints(tasks)
        engine = SimpleNamespace(vllm_config=config(**parallel)) if engine else None

        @asynccontextmanager
        async def lifespan(_):
            await self.endpoints.init_state(engine, self.app.state, self.args)
            yield

        self.app = app = FastAPI(lifespan=lifespan)
        app.root_path = root_path
        app.state.args = self.args

        @app.get("/metrics", response_class=PlainTextResponse)
        def metrics() -> str:
            return "theirs 1\n"

        @app.post("/v1/completions")
        @app.post("/v1/embeddings")
        async def complete(
            body: dict,
            authorization: Annotated[str, Header()] = "",
            x_data_parallel_rank: Annotated[str, Header()] = "",
        ):
            if keys and authorization.removeprefix("Bearer ") not in keys:
                raise HTTPException(401)
            self.asked.append({**body, "rank": x_data_parallel_rank})
            return {}

        app.state.endpoint_plugins = [self.endpoints]
        attach(app, self.endpoints)


def attach(app, plugin):
    """Do with a plugin's routes what vLLM does: they replace earlier ones of path and method."""
    before = list(app.router.routes)
    plugin.attach_router(app)
    added = [each for each in app.router.routes if each not in before]
    paths = {each.path for each in added if isinstance(each, APIRoute)}
    app.router.routes[:] = [each for each in before if getattr(each, "path", "") not in paths]
    app.router.routes += added


@pytest.fixture
def journal(tmp_path):
    return open_journal(tmp_path)


def warmed(client, **headers):
    response = client.post("/warmup?wait=60", headers=headers)
    return response.json().get("job", response.json())


def test_a_warmup_asks_the_app_itself_with_its_key(journal):
    theirs = Theirs(keys=["k1", "k2"])
    with TestClient(theirs.app) as client:
        assert client.get("/totals").status_code == 401
        assert client.post("/warmup").status_code == 401
        assert "torch_compile" not in client.get("/metrics").text
        with_key = {"Authorization": "Bearer k1"}
        assert "torch_compile" in client.get("/metrics", headers=with_key).text
        for key in ("k1", "k2"):
            with_key = {"Authorization": f"Bearer {key}"}
            assert client.get("/totals", headers=with_key).status_code == 200
        job = warmed(client, authorization="Bearer k2")
    assert {item["state"] for item in job["items"]} == {"eager"}  # nothing compiles here
    assert len(theirs.asked) >= 2 * len(job["items"])


def test_our_token_goes_before_vllms_keys(journal, monkeypatch):
    monkeypatch.setenv("COMPILESPAN_TOKEN", "0urs")
    theirs = Theirs(keys=["k3y"])
    with TestClient(theirs.app) as client:
        assert client.get("/totals", headers={"Authorization": "Bearer k3y"}).status_code == 401
        job = warmed(client, authorization="Bearer 0urs")
    assert {item["state"] for item in job["items"]} == {"eager"}
    assert theirs.asked


@pytest.mark.parametrize(
    ("given", "variable", "keys"),
    [
        (["a", "b"], None, ["a", "b"]),
        (["a"], "b", ["a"]),
        (None, "b", ["b"]),
        ([""], "b", []),
        (None, None, []),
        ("a", None, ["a"]),
    ],
)
def test_keys_of_the_command_line_go_before_the_variable(given, variable, keys, monkeypatch):
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    if variable:
        monkeypatch.setenv("VLLM_API_KEY", variable)
    assert api_keys(Namespace(api_key=given)) == keys


def test_without_keys_it_is_read_and_not_changed(journal):
    with TestClient(Theirs().app, base_url="http://127.0.0.1") as client:
        assert client.get("/totals").status_code == 200
        refused = client.post("/warmup")
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:compilespan:problem:not-configured"


def test_paths_of_theirs_stay_theirs(journal):
    with TestClient(Theirs(keys=["k"]).app) as client:
        assert client.get("/metrics").text.startswith("theirs 1\n")
        assert client.get("/totalsfoo").status_code == 404
        assert client.get("/warmupfoo").status_code == 404
        assert client.get("/totals/x").status_code == 404
        assert "compilespan" in client.get("/").text


def test_the_probes_say_that_it_serves(journal):
    with TestClient(Theirs().app) as client:
        assert client.get("/livez").status_code == 200
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/startupz").status_code == 200


def test_its_metrics_are_among_theirs(journal):
    with TestClient(Theirs().app, base_url="http://127.0.0.1") as client:
        ledger = get_ledger()
        key = ledger.prepare()
        ledger.begin(CompileBegun(key, "a", "other", 1, 1))
        ledger.end(key, record())
        wait_until(lambda: "torch_compile_duration_seconds_count{" in client.get("/metrics").text)
        shown = client.get("/metrics")
    assert shown.text.startswith("theirs 1\n# HELP")
    assert shown.headers["content-type"].startswith("text/plain")
    assert int(shown.headers["content-length"]) == len(shown.content)
    assert list(text_string_to_metric_families(shown.text))


@pytest.mark.parametrize(
    "theirs",
    [
        Response("no", status_code=500),
        Response(b"zipped", headers={"Content-Encoding": "gzip"}, media_type="text/plain"),
        Response("{}", media_type="application/openmetrics-text"),
    ],
)
def test_what_ours_cannot_be_added_to_stays_as_it_is(theirs):
    assert _with_ours(theirs, b"ours") is theirs


def test_a_fault_in_our_metrics_leaves_theirs(journal, monkeypatch):
    monkeypatch.setattr(Exposition, "text", lambda _: 1 / 0)
    with TestClient(Theirs().app, base_url="http://127.0.0.1") as client:
        assert client.get("/metrics").text == "theirs 1\n"


def test_a_render_server_is_ready_without_an_engine(journal):
    with TestClient(Theirs(("render",), engine=False).app) as client:
        assert get_ledger().readiness.ready is not None
        wait_until(lambda: client.get("/readyz").status_code == 200)


def test_it_works_below_a_root_path(journal):
    theirs = Theirs(keys=["k"], root_path="/llm")
    with TestClient(theirs.app, root_path="/llm") as client:
        assert client.get("/llm/livez").status_code == 200
        job = warmed(client, authorization="Bearer k")
    assert {item["state"] for item in job["items"]} == {"eager"}


def test_a_fault_of_ours_is_not_theirs(monkeypatch, caplog):
    monkeypatch.setenv("COMPILESPAN_TOKEN", "not ascii: ü")
    with TestClient(Theirs().app) as client:
        assert client.get("/metrics").text == "theirs 1\n"
        assert client.get("/totals").status_code == 404
    assert "printable ASCII" in caplog.text


# The requests


def test_our_metrics_are_not_for_who_calls_the_server_by_another_name(journal):
    with TestClient(Theirs().app, base_url="http://127.0.0.1") as client:
        other = {"Host": "evil.example"}
        assert client.get("/totals", headers=other).status_code == 403
        assert client.get("/metrics", headers=other).text == "theirs 1\n"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WEB_CONCURRENCY", "2"),
        ("COMPILESPAN_PROCESSES", "2"),
        ("COMPILESPAN_ON_WARMUP_FAILURE", "exit"),
        ("COMPILESPAN_ON_HANG", "exit"),
    ],
)
def test_what_is_said_of_a_server_of_our_own_is_not_said_of_theirs(
    journal, monkeypatch, variable, value
):
    ended = []
    monkeypatch.setattr("compilespan_service.signals.os.kill", lambda *_: ended.append(1))
    monkeypatch.setenv(variable, value)
    with TestClient(Theirs(keys=["k"]).app) as client:
        assert client.get("/readyz").status_code == 200
        warmed(client, authorization="Bearer k")
        assert client.get("/readyz").status_code == 200
    assert ended == []


def test_a_server_starts_where_no_temporary_directory_can_be_made(monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("compilespan_service.state.temporary_directory", full)
    with TestClient(Theirs().app, base_url="http://127.0.0.1") as client:
        assert client.get("/totals").status_code == 200


def plan(served, monkeypatch, **env):
    for name in (PROMPT_LENGTHS, IMAGE_SIZES, REQUESTS):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(f"COMPILESPAN_VLLM_{name}", value)
    return [
        {**request, "json": body() if callable(body := request["json"]) else body}
        for request in requests(served)
    ]


def test_the_plan_has_what_clients_send(monkeypatch):
    found = plan(Served("m", max_tokens=100), monkeypatch)
    bodies = [request["json"] for request in found]
    assert [len(body["prompt"]) for body in bodies[:2]] == [16, 96]
    for option, value in [("logprobs", 5), ("n", 2), ("top_p", 0.9), ("temperature", 0)]:
        assert any(body.get(option) == value for body in bodies), option
    assert [request["concurrent"] for request in found if "concurrent" in request] == [4]
    assert all(len(body["prompt"]) + body["max_tokens"] <= 100 for body in bodies)
    shapes = [json.dumps(request["shape"]) for request in found]
    assert len(set(shapes)) == len(shapes)
    # The prefix cache answers none of them.
    salts = [body["cache_salt"] for body in bodies]
    assert len(set(salts)) == len(salts)


@pytest.mark.parametrize(
    ("max_tokens", "lengths"), [(None, [16, 128]), (100, [16, 96]), (16, [12]), (3, [1]), (1, [1])]
)
def test_no_prompt_is_longer_than_the_model_takes(max_tokens, lengths, monkeypatch):
    bodies = [each["json"] for each in plan(Served("m", max_tokens=max_tokens), monkeypatch)]
    assert list(dict.fromkeys(len(body["prompt"]) for body in bodies)) == lengths


def test_structured_output_where_it_is_installed_and_there_is_a_tokenizer(monkeypatch):
    def structured(**served):
        found = plan(Served("m", **served), monkeypatch)
        return [each for each in found if "structured_outputs" in each["json"]]

    spec = "compilespan_service.vllm.plan.importlib.util.find_spec"
    monkeypatch.setattr(spec, lambda name: name == "xgrammar" or None)
    assert len(structured()) == 1
    assert structured(has_tokenizer=False) == []
    monkeypatch.setattr(spec, lambda _: None)
    assert structured() == []


@pytest.mark.parametrize(
    ("task", "path"),
    [
        ("embed", "/v1/embeddings"),
        ("classify", "/classify"),
        ("token_embed", "/pooling"),
        ("token_classify", "/pooling"),
    ],
)
def test_pooling_models_are_asked_by_their_own_endpoint(task, path, monkeypatch):
    found = plan(Served("m", task), monkeypatch)
    assert {each["path"] for each in found} == {path}
    assert [len(each["json"]["input"]) for each in found] == [16, 128, 16]
    assert all(each["json"].get("task") == (task if path == "/pooling" else None) for each in found)


def test_what_has_no_requests_of_ours_is_warmed_by_free_ones(monkeypatch):
    assert plan(Served("m", None), monkeypatch) == []
    one = '[{"path": "/v1/x", "json": {"a": 1}}]'
    (found,) = plan(Served("m", None), monkeypatch, REQUESTS=one)
    assert found["json"] == {"model": "m", "a": 1}
    assert found["shape"] == {"path": "/v1/x", "request": 1}


def test_free_requests_may_be_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "r.json").write_text('{"json": {"prompt": "x", "model": "other"}}')
    env = {"PROMPT_LENGTHS": "", "REQUESTS": str(tmp_path / "r.json")}
    (found,) = plan(Served("m"), monkeypatch, **env)
    assert found["path"] == "/v1/completions"
    assert found["json"]["model"] == "other"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REQUESTS", "[{"),
        ("REQUESTS", "/no/such/file"),
        ("REQUESTS", "[5]"),
        ("REQUESTS", '[{"path": "/x"}]'),
        ("REQUESTS", '[{"json": "text"}]'),
        ("REQUESTS", '[{"json": {}, "shape": "big"}]'),
        ("REQUESTS", '[{"json": {}, "shape": {"a": [1]}}]'),
        ("REQUESTS", '[{"json": {}, "headers": ["a"]}]'),
        ("REQUESTS", '[{"json": {}, "headers": {"a": 1}}]'),
        ("REQUESTS", '[{"json": {}, "concurrent": 0}]'),
        ("REQUESTS", '[{"json": {}, "concurrent": 1000000}]'),
        ("REQUESTS", '[{"json": {}, "concurrent": true}]'),
        ("REQUESTS", '[{"json": {}, "path": "v1/x"}]'),
        ("REQUESTS", '[{"json": {}, "method": 5}]'),
        ("PROMPT_LENGTHS", "16,many"),
        ("PROMPT_LENGTHS", "-5"),
        ("IMAGE_SIZES", "224"),
        ("IMAGE_SIZES", "0x10"),
        ("IMAGE_SIZES", "axb"),
    ],
)
def test_what_cannot_be_read_is_logged_and_left_out(variable, value, monkeypatch, caplog):
    as_usual = plan(Served("m"), monkeypatch)
    found = plan(Served("m"), monkeypatch, **{variable: value})
    assert f"COMPILESPAN_VLLM_{variable}" in caplog.text
    assert variable == "PROMPT_LENGTHS" or len(found) == len(as_usual)


def test_each_engine_of_a_balanced_server_is_warmed(monkeypatch):
    alone = plan(Served("m"), monkeypatch)
    found = plan(Served("m", ranks=2), monkeypatch)
    assert len(found) == 2 * len(alone)
    ranks = [each["shape"]["data_parallel_rank"] for each in found]
    assert [each["headers"]["X-data-parallel-rank"] for each in found] == list(map(str, ranks))
    args = Namespace(**ARGUMENTS)
    assert Served.of(args, config(data_parallel_size=2), ()).ranks == 2
    external = config(data_parallel_size=2, data_parallel_external_lb=True)
    assert Served.of(args, external, ()).ranks == 1
    local = {"data_parallel_size_local": 2, "local_engines_only": True}
    assert Served.of(args, config(data_parallel_size=4, **local), ()).ranks == 2


def test_a_pooling_server_balances_itself_so_that_no_engine_is_named(monkeypatch):
    found = plan(Served("m", "embed", ranks=2), monkeypatch)
    assert not any("headers" in each or "data_parallel_rank" in each["shape"] for each in found)
    assert [each["concurrent"] for each in found if "concurrent" in each] == [8]


def test_what_is_served_is_read_off_arguments_and_configuration():
    args = Namespace(**{**ARGUMENTS, "served_model_name": ["a", "b"]}, skip_tokenizer_init=True)
    served = Served.of(args, config(), ("embed",))
    assert served == Served("a", "embed", 100, 8, 20, 1, has_tokenizer=False)
    assert Served.of(Namespace(model="m"), None, ()) == Served("m")


def test_a_pooling_model_is_asked_for_the_task_that_vllm_has_chosen():
    """The others of its tasks have no endpoint then: it answers 501."""
    both = ("embed", "token_embed")
    chosen = config()
    chosen.model_config.get_pooling_task = lambda tasks: tasks[1]
    args = Namespace(**ARGUMENTS)
    assert Served.of(args, chosen, both).task == "token_embed"
    assert Served.of(args, chosen, ("generate", *both)).task == "generate"
    assert Served.of(args, config(), both).task == "embed"  # a version that has no such choice
    chosen.model_config.get_pooling_task = lambda _: "embed&token_classify"
    assert Served.of(args, chosen, both).task == "embed&token_classify"


def test_for_what_there_are_no_requests_none_are_sent(monkeypatch):
    assert plan(Served("m", "embed&token_classify"), monkeypatch) == []


@pytest.mark.parametrize(
    ("allowed", "has_tokenizer", "asked"),
    [(-1, True, 5), (20, True, 5), (2, True, 2), (0, True, None), (20, False, None)],
)
def test_no_more_logprobs_are_asked_for_than_vllm_gives(allowed, has_tokenizer, asked, monkeypatch):
    served = Served("m", max_logprobs=allowed, has_tokenizer=has_tokenizer)
    found = [each["json"].get("logprobs") for each in plan(served, monkeypatch)]
    assert [each for each in found if each is not None] == ([] if asked is None else [asked])


def test_the_picture_is_a_png_of_its_size(monkeypatch):
    found = plan(Served("m"), monkeypatch, PROMPT_LENGTHS="", IMAGE_SIZES="30x20")
    again = plan(Served("m"), monkeypatch, PROMPT_LENGTHS="", IMAGE_SIZES="30x20")
    assert again[0]["json"] != found[0]["json"]  # no cache knows it
    content = found[0]["json"]["messages"][0]["content"]
    png = base64.b64decode(content[0]["image_url"]["url"].partition(",")[2])
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 30
    assert int.from_bytes(png[20:24], "big") == 20


# The way in


def test_requests_come_from_other_threads_into_the_loop_of_the_app():
    threads = []
    app = FastAPI()

    @app.post("/echo")
    async def echo(body: dict):
        threads.append(threading.current_thread())
        return body

    @app.post("/fails")
    async def fails():
        raise RuntimeError

    async def serve():
        client = httpx.Client(
            transport=AppTransport(app, asyncio.get_running_loop()), base_url="http://localhost"
        )
        answered = await asyncio.to_thread(client.post, "/echo", json={"a": 1})
        failed = await asyncio.to_thread(client.post, "/fails")
        return client, answered, failed

    client, answered, failed = asyncio.run(serve())
    assert answered.json() == {"a": 1}
    assert failed.status_code == 500
    assert threads == [threading.main_thread()]
    with pytest.raises(httpx.ConnectError, match="is not running"):
        client.post("/echo", json={})


# Versions without endpoint plugins


@pytest.fixture
def on(monkeypatch):
    monkeypatch.setattr(vllm, "takes_part", lambda: True)


def with_middleware():
    app = FastAPI()
    app.state.args = Namespace(**{**ARGUMENTS, "api_key": ["k"]})

    @app.get("/metrics")
    def metrics() -> str:
        return "theirs"

    app.add_middleware(CompileRoutes)
    return app


def test_the_middleware_answers_our_paths(on, journal):
    with TestClient(with_middleware()) as client:
        assert client.get("/readyz").status_code == 200
        gc.collect()
        assert client.get("/readyz").status_code == 200
        assert client.get("/metrics").json() == "theirs"
        assert client.get("/nothing").status_code == 404
        assert client.get("/totals").status_code == 401
        assert client.get("/totals", headers={"Authorization": "Bearer k"}).status_code == 200
        assert client.get("/totalsfoo").status_code == 404
    assert "compilespan-jobs" not in {thread.name for thread in threading.enumerate()}


def test_without_the_plugin_the_middleware_says_what_is_off(journal):
    with TestClient(with_middleware()) as client:
        response = client.get("/totals")
        assert client.get("/livez").status_code == 200
    assert response.status_code == 503
    assert response.json()["type"] == "urn:compilespan:problem:plugin-off"
    assert "VLLM_PLUGINS" in response.json()["detail"]


def test_the_middleware_hands_on_what_the_plugin_answers(on, journal):
    theirs = Theirs()
    theirs.app.add_middleware(CompileRoutes)
    with TestClient(theirs.app, base_url="http://127.0.0.1") as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/totals").status_code == 200
        time.sleep(0.3)  # a second one would have begun to load
        threads = [each.name for each in threading.enumerate()]
        assert threads.count("compilespan-jobs") == 1
