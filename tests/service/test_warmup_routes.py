"""POST /warmup and its jobs, in process, on real compiles."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from compilespan import WarmupTarget, get_ledger
from compilespan_service.app import warmup_router
from compilespan_service.schemas import WarmupRequest
from compilespan_service.settings import Settings
from compilespan_service.warmups import runner
from compilespan_service.warmups.execution import Execution
from compilespan_service.warmups.lifecycle import ProcessState
from compilespan_service.warmups.policy import Policy
from compilespan_service.warmups.runner import Runner
from serving import Model, in_thread, wait_until


def states(job):
    return [item["state"] for item in job["items"]]


def problem(response, kind, status):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == f"urn:compilespan:problem:{kind}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


def test_a_post_that_waits_gets_the_job_when_it_succeeded(serve):
    client = serve(Model())
    response = client.post("/warmup?wait=60")
    assert response.status_code == 200
    job = response.json()
    assert job["state"] == "succeeded"
    assert states(job) == ["warm"] * 3
    assert job["totals"]["total"]["compiles"] == 3
    assert job["totals"]["total"]["compile_s"] == get_ledger().totals().total.compile_s
    assert job["warnings"] == []
    assert job["already_warm"] is False
    assert client.get("/readyz").status_code == 200


def test_a_post_that_does_not_wait_gets_202_and_where_to_look(serve):
    model = Model()
    client = serve(model)
    model.hold()
    response = client.post("/warmup")
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/warmup/jobs/{job['id']}"
    assert int(response.headers["retry-after"]) > 0
    assert job["state"] in ("queued", "running")
    model.go_on.set()
    wait_until(lambda: client.get(response.headers["location"]).json()["state"] == "succeeded")
    assert client.get("/warmup").json()["id"] == job["id"]


@pytest.mark.parametrize("prefer", ["wait=60", "respond-async, wait=60", 'handling=x; wait="60"'])
def test_prefer_wait_is_understood(serve, prefer):
    client = serve(Model())
    assert client.post("/warmup", headers={"Prefer": prefer}).status_code == 200


def test_a_wait_that_is_too_short_gets_202(serve):
    model = Model()
    client = serve(model)
    model.hold()
    response = client.post("/warmup?wait=0.2")
    assert response.status_code == 202
    assert response.json()["state"] == "running"


def test_two_posts_at_once_are_one_job(serve):
    model = Model()
    client = serve(model)
    model.hold()
    with in_thread(lambda: client.post("/warmup?wait=60")) as first:
        assert model.entered.wait(20)
        second = client.post("/warmup")
        model.go_on.set()
    assert second.status_code == 202
    assert first[0].status_code == 200
    assert first[0].json()["id"] == second.json()["id"]
    assert get_ledger().totals().total.compiles == 3


def test_a_part_of_the_running_plan_joins_and_another_plan_is_a_conflict(serve):
    model, other = Model(), Model("other", sizes=(5,))
    client = serve(model, other)
    model.hold()
    running = client.post("/warmup", json={"targets": ["net"]}).json()
    assert model.entered.wait(20)
    part = client.post("/warmup", json={"targets": ["net"], "shapes": {"net": [{"batch": 2}]}})
    assert (part.status_code, part.json()["id"]) == (202, running["id"])
    conflict = client.post("/warmup")
    body = problem(conflict, "plan-conflict", 409)
    assert body["job"] == f"/warmup/jobs/{running['id']}"
    assert int(conflict.headers["retry-after"]) > 0


def test_all_warm_is_200_and_says_so(serve):
    client = serve(model := Model())
    first = client.post("/warmup?wait=60").json()
    runs = len(model.runs)
    response = client.post("/warmup?wait=60")
    assert response.status_code == 200
    assert response.json()["already_warm"] is True
    assert response.json()["id"] == first["id"]
    assert len(model.runs) == runs


def test_force_runs_what_is_warm_and_never_takes_readiness_away(serve):
    client = serve(model := Model())
    client.post("/warmup?wait=60")
    runs = len(model.runs)
    model.hold()
    model.go_on.set()
    response = client.post("/warmup?wait=60", json={"force": True})
    assert response.json()["already_warm"] is False
    assert len(model.runs) > runs
    assert client.get("/readyz").status_code == 200


def test_a_shape_that_fails_fails_the_job_and_keeps_the_rest(serve):
    client = serve(model := Model())
    model.failing = {2}
    response = client.post("/warmup?wait=60")
    job = problem(response, "warmup-failed", 500)["job"]
    assert job["state"] == "failed"
    assert states(job) == ["warm", "failed", "warm"]
    assert "no kernel" in job["items"][1]["error"]
    assert job["totals"]["total"]["failed_s"] > 0
    assert job["totals"]["total"]["compile_s"] == pytest.approx(
        sum(item["compile_s"] for item in job["items"])
    )
    assert client.get("/readyz").status_code == 503
    assert client.get("/startupz").status_code == 200
    assert "Traceback" not in response.text
    assert "/" + __file__.split("/")[1] not in response.text


def test_the_next_post_does_only_what_is_not_warm(serve):
    client = serve(model := Model())
    model.failing = {2}
    client.post("/warmup?wait=60")
    model.failing = set()
    model.runs.clear()
    response = client.post("/warmup?wait=60")
    assert response.status_code == 200
    assert [item["shape"] for item in response.json()["items"]] == [{"batch": 2}]
    assert set(model.runs) == {2}
    assert client.get("/readyz").status_code == 200


def test_on_error_stop_leaves_the_rest_pending(serve):
    client = serve(model := Model())
    model.failing = {1}
    response = client.post("/warmup?wait=60", json={"on_error": "stop"})
    assert states(response.json()["job"]) == ["failed", "pending", "pending"]


def test_twelve_static_shapes_end_eager_and_not_ready_with_warnings(serve):
    client = serve(Model(sizes=range(1, 13)))
    job = client.post("/warmup?wait=60").json()
    assert states(job) == ["warm"] * 8 + ["eager"] * 4
    assert len(job["warnings"]) == 4
    assert client.get("/readyz").status_code == 503


def test_an_eager_shape_stays_eager_in_the_next_job(serve):
    client = serve(Model(sizes=range(1, 11)))
    client.post("/warmup?wait=60")
    job = client.post("/warmup?wait=60").json()
    assert [item["shape"]["batch"] for item in job["items"]] == [9, 10]
    assert states(job) == ["eager", "eager"]


def test_without_verify_items_are_unverified_and_it_is_ready(serve):
    client = serve(Model())
    job = client.post("/warmup?wait=60", json={"verify": False}).json()
    assert states(job) == ["unverified"] * 3
    assert client.get("/readyz").status_code == 200


def test_a_part_that_is_warm_is_not_ready(serve):
    client = serve(Model())
    client.post("/warmup?wait=60", json={"shapes": {"net": [{"batch": 1}]}})
    assert client.get("/readyz").status_code == 503


def test_a_client_that_goes_away_cancels_nothing(serve):
    model = Model()
    client = serve(model)
    model.hold()
    response = client.post("/warmup?wait=0.1")
    model.go_on.set()
    wait_until(lambda: client.get(response.headers["location"]).json()["state"] == "succeeded")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"target": ["net"]}, "body.target"),
        ({"targets": "net"}, "body.targets"),
        ({"targets": ["x"] * 300}, "body.targets"),
        ({"shapes": {"net": [{"batch": [1]}]}}, "body.shapes.net.0.batch"),
        ({"on_error": "explode"}, "body.on_error"),
        ({"shapes": {"net": [{"batch": 77}]}}, "body.shapes.net"),
    ],
)
def test_an_invalid_request_is_told_with_the_field(serve, body, field):
    client = serve(Model())
    errors = problem(client.post("/warmup", json=body), "invalid-request", 422)["errors"]
    assert any(each["field"].startswith(field) for each in errors), errors


@pytest.mark.parametrize("query", ["wait=-1", "wait=soon", "wait=nan"])
def test_an_invalid_wait_is_told(serve, query):
    problem(serve(Model()).post(f"/warmup?{query}"), "invalid-request", 422)


def test_a_wait_is_capped(serve):
    assert serve(Model()).post("/warmup?wait=1e9").status_code == 200


def test_an_unknown_target_is_told_with_those_there_are(serve):
    body = problem(
        serve(Model()).post("/warmup", json={"targets": ["nett"]}), "target-not-found", 404
    )
    assert "'nett'" in body["detail"]
    assert "net" in body["detail"]


def test_an_unknown_job_is_told(serve):
    client = serve(Model())
    problem(client.get("/warmup/jobs/abc"), "job-not-found", 404)
    problem(client.get("/warmup"), "job-not-found", 404)


def test_a_body_that_is_no_json_is_told(serve):
    response = serve(Model()).post(
        "/warmup", content="{", headers={"content-type": "application/json"}
    )
    problem(response, "invalid-request", 422)


def test_a_job_asked_for_before_the_models_are_loaded_waits_for_them(serve):
    import threading

    loading = threading.Event()
    model = Model()

    def factory():
        assert loading.wait(20)
        return [model.target]

    client = serve(model, factory=factory, wait_loaded=False)
    response = client.post("/warmup", json={"targets": ["net"]})
    assert (response.status_code, response.json()["state"]) == (202, "queued")
    assert client.get("/startupz").status_code == 503
    assert client.get("/livez").status_code == 200
    again = client.post("/warmup", json={"targets": ["net"]})
    assert again.json()["id"] == response.json()["id"]
    problem(client.post("/warmup", json={"targets": ["x"]}), "plan-conflict", 409)
    loading.set()
    wait_until(lambda: client.get("/warmup").json()["state"] == "succeeded")


def test_targets_that_cannot_be_loaded_are_told_by_the_probes_and_the_job(serve):
    def factory():
        raise RuntimeError("no weights")

    client = serve(factory=factory, warmup="on-start")
    wait_until(lambda: client.get("/warmup").json()["state"] == "failed")
    assert "no weights" in client.get("/warmup").json()["error"]
    health = client.get("/readyz")
    assert (health.status_code, health.json()["state"]) == (503, "load-failed")
    assert "no weights" in health.json()["detail"]
    assert client.get("/startupz").status_code == 200
    assert client.get("/livez").status_code == 200
    problem(client.post("/warmup"), "target-not-found", 404)


def test_no_targets_is_not_ready(serve):
    client = serve(factory=list)
    wait_until(lambda: client.get("/readyz").json()["state"] == "no-targets")
    assert client.get("/readyz").status_code == 503
    body = problem(client.post("/warmup"), "target-not-found", 404)
    assert "no targets" in body["detail"]


def test_on_start_warms_by_itself(serve):
    client = serve(Model(), warmup="on-start")
    wait_until(lambda: client.get("/readyz").status_code == 200)
    assert client.get("/warmup").json()["state"] == "succeeded"


def test_the_job_span_is_the_parent_of_its_items(serve, instrumented):
    client = serve(Model(sizes=(1,)))
    job = client.post("/warmup?wait=60").json()
    (warmup,) = instrumented.named("compilespan.warmup")
    (item,) = instrumented.named("compilespan.warmup.item")
    assert item.parent.span_id == warmup.context.span_id
    assert dict(warmup.attributes) == {
        "compilespan.instance.id": "test-instance",
        "compilespan.job.id": job["id"],
        "compilespan.job.state": "succeeded",
    }
    assert job["trace_id"] == f"{warmup.context.trace_id:032x}"


def test_jobs_are_listed_newest_first(serve):
    client = serve(Model())
    first = client.post("/warmup?wait=60", json={"shapes": {"net": [{"batch": 1}]}}).json()
    second = client.post("/warmup?wait=60").json()
    assert [job["id"] for job in client.get("/warmup/jobs").json()] == [second["id"], first["id"]]


def test_a_cancelled_job_ends_before_its_next_call_and_keeps_what_is_warm(serve):
    model = Model()
    client = serve(model)
    model.hold()
    job = client.post("/warmup").json()
    assert model.entered.wait(20)
    response = client.delete(f"/warmup/jobs/{job['id']}")
    assert (response.status_code, response.json()["state"]) == (202, "cancelling")
    model.go_on.set()
    wait_until(lambda: client.get("/warmup").json()["state"] == "cancelled")
    job = client.get("/warmup").json()
    assert states(job) == ["cancelled"] * 3
    assert job["totals"]["total"]["compiles"] == 1
    assert client.get("/readyz").status_code == 503
    assert client.get("/startupz").status_code == 200
    problem(client.post("/warmup?wait=0", json={"targets": ["x"]}), "target-not-found", 404)
    assert client.post("/warmup?wait=60").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_a_job_that_waits_is_cancelled_at_once(serve):
    import threading

    loading = threading.Event()
    model = Model()

    def factory():
        assert loading.wait(20)
        return [model.target]

    client = serve(model, factory=factory, wait_loaded=False, warmup="on-start")
    wait_until(lambda: client.get("/warmup").status_code == 200)
    job = client.get("/warmup").json()
    response = client.delete(f"/warmup/jobs/{job['id']}")
    assert (response.status_code, response.json()["state"]) == (200, "cancelled")
    loading.set()
    wait_until(lambda: client.get("/startupz").status_code == 200)
    assert client.get("/readyz").json()["state"] == "not-warm"
    assert model.runs == []


def test_an_ended_job_stays_what_it_is(serve):
    client = serve(Model())
    job = client.post("/warmup?wait=60").json()
    response = client.delete(f"/warmup/jobs/{job['id']}")
    assert (response.status_code, response.json()["state"]) == (200, "succeeded")
    problem(client.delete("/warmup/jobs/none"), "job-not-found", 404)


def test_mounted_under_a_prefix_every_link_leads_to_its_job():
    model, other = Model(), Model("other", sizes=(5,))
    app = FastAPI()
    router = warmup_router(
        [model.target, other.target],
        settings=Settings(warmup="on-request"),
        dependencies=[Depends(lambda: None)],
    )
    app.include_router(router, prefix="/ops")
    with TestClient(app) as client:
        wait_until(lambda: client.get("/ops/readyz").json()["state"] != "loading")
        model.hold()
        running = client.post("/ops/warmup", json={"targets": ["net"]})
        assert model.entered.wait(20)
        conflict = client.post("/ops/warmup")
        links = (running.headers["location"], conflict.json()["job"])
        assert links == (f"/ops/warmup/jobs/{running.json()['id']}",) * 2
        assert client.get(links[0]).json()["id"] == running.json()["id"]
        model.go_on.set()


class Wordless(Exception):
    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        GeneratorExit(),
        SystemExit(1),
        Wordless(),
        StopIteration(),
        BaseException(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_leaves_a_call_fails_its_item_and_the_next_job_runs(serve, error):
    raising = [True]

    def run(_):
        if raising:
            raise error

    def refuse(shape):
        run(shape)
        model.run(shape)

    model = Model(sizes=(1,))
    client = serve(factory=lambda: [WarmupTarget("net", refuse, [{"batch": 1}])])
    response = client.post("/warmup?wait=30")
    job = problem(response, "warmup-failed", 500)["job"]
    assert job["state"] == "failed"
    assert states(job) == ["failed"]
    assert type(error).__name__ in job["items"][0]["error"]
    raising.clear()
    assert client.post("/warmup?wait=60").json()["state"] == "succeeded"
    assert client.get("/readyz").status_code == 200


def test_a_fault_of_ours_in_the_job_thread_ends_the_job_and_not_the_thread(serve, monkeypatch):
    from compilespan_service.warmups.execution import Execution

    model = Model()
    client = serve(model)
    run = Execution.run

    def breaks(self):
        monkeypatch.setattr(Execution, "run", run)
        raise KeyboardInterrupt

    monkeypatch.setattr(Execution, "run", breaks)
    job = problem(client.post("/warmup?wait=30"), "warmup-failed", 500)["job"]
    assert (job["state"], job["error"]) == ("failed", "an internal error: KeyboardInterrupt: ")
    assert client.post("/warmup?wait=60").json()["state"] == "succeeded"


@pytest.mark.parametrize(
    ("running", "asked", "joins"),
    [
        ({}, {}, True),
        ({}, {"verify": False}, True),
        ({}, {"on_error": "stop"}, True),
        ({}, {"force": True}, True),
        ({"budget_s": 60}, {"budget_s": 60}, True),
        ({"verify": False}, {}, False),
        ({"on_error": "stop"}, {}, False),
        ({"budget_s": 60}, {}, False),
        ({}, {"budget_s": 60}, False),
        ({"shapes": {"net": [{"batch": 1}]}}, {}, False),
        ({"shapes": {"net": [{"batch": 1}]}}, {"shapes": {"net": [{"batch": 1}]}}, True),
    ],
)
def test_a_post_joins_only_a_job_that_does_all_it_asks_for(serve, running, asked, joins):
    model = Model()
    client = serve(model)
    model.hold()
    first = client.post("/warmup", json=running)
    assert model.entered.wait(20)
    second = client.post("/warmup", json=asked)
    if joins:
        assert second.json()["id"] == first.json()["id"]
    else:
        body = problem(second, "plan-conflict", 409)
        assert body["job"] == first.headers["location"]


def test_what_was_warm_before_does_not_keep_a_post_from_joining(serve):
    """All asked for is warm or on its way: the job that runs does what is left."""
    model = Model()
    client = serve(model)
    client.post("/warmup?wait=60", json={"shapes": {"net": [{"batch": 1}]}})
    model.hold()
    running = client.post("/warmup")
    assert model.entered.wait(20)
    assert client.post("/warmup").json()["id"] == running.json()["id"]
    problem(client.post("/warmup", json={"force": True}), "plan-conflict", 409)


def test_already_warm_comes_with_the_job_that_made_it_so(serve):
    model = Model()
    client = serve(model)
    warmed = client.post("/warmup?wait=60").json()
    model.hold()
    forced = client.post("/warmup", json={"force": True}).json()
    client.delete(f"/warmup/jobs/{forced['id']}")
    model.go_on.set()
    wait_until(lambda: client.get(f"/warmup/jobs/{forced['id']}").json()["ended_at"])
    again = client.post("/warmup").json()
    assert again["already_warm"]
    assert (again["id"], again["state"]) == (warmed["id"], "succeeded")


def test_what_is_asked_for_is_known_while_the_weights_are_loaded(serve):
    """Names and shapes are cheap to know."""
    loading = threading.Event()
    model = Model(load=lambda: loading.wait(30))
    client = serve(model, wait_loaded=False)
    wait_until(lambda: client.post("/warmup", json={"targets": ["x"]}).status_code == 404)
    problem(client.post("/warmup", json={"targets": ["x"]}), "target-not-found", 404)
    job = client.post("/warmup").json()
    assert (job["state"], states(job)) == ("queued", ["pending"] * 3)
    assert client.get("/readyz").json()["state"] == "loading"
    loading.set()
    wait_until(lambda: client.get("/warmup").json()["state"] == "succeeded")


@pytest.mark.parametrize("setting", ["on_warmup_failure", "on_hang"])
def test_exit_ends_a_process_that_is_not_ours_as_sigterm_does(serve, monkeypatch, setting):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(runner, "HANG_GRACE_S", 0.0)
    model = Model()
    client = serve(model, **{setting: "exit"})
    if setting == "on_hang":
        model.hold()
        client.post("/warmup", json={"budget_s": 0.2})
    else:
        model.failing.add(1)
        client.post("/warmup?wait=60")
    wait_until(lambda: sent)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_a_post_right_after_a_jobs_end_starts_the_next(serve, monkeypatch):
    """Its thread may be on its way back from the job that ended; nothing hangs."""
    returns, go_on = threading.Event(), threading.Event()
    run = Execution.run

    def slow_to_return(self):
        run(self)
        returns.set()
        assert go_on.wait(30)

    monkeypatch.setattr(Execution, "run", slow_to_return)
    client = serve(Model())
    assert client.post("/warmup?wait=60").status_code == 200
    assert returns.wait(30)
    again = client.post("/warmup", json={"force": True})
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    go_on.set()
    wait_until(lambda: client.get("/warmup").json()["state"] == "succeeded")


def test_all_warm_is_said_while_another_job_runs(serve):
    model, other = Model(), Model("other", sizes=(5,))
    client = serve(model, other)
    warmed = client.post("/warmup?wait=60", json={"targets": ["net"]}).json()
    other.hold()
    client.post("/warmup", json={"targets": ["other"]})
    assert other.entered.wait(20)
    answer = client.post("/warmup", json={"targets": ["net"], "budget_s": 5})
    assert (answer.status_code, answer.json()["id"]) == (200, warmed["id"])


def test_whatever_finding_the_factory_raises_ends_no_thread(tmp_path):
    def find():
        raise ImportError("of a module's own __getattr__")

    each = Runner(find, Policy())
    each.start()
    wait_until(lambda: each.jobs.current.is_over)
    assert each.lifecycle.state is ProcessState.LOAD_FAILED
    assert "own __getattr__" in each.jobs.current.error
    assert each.stop()


def test_a_job_that_waits_is_cancelled_when_the_server_stops(serve):
    loading = threading.Event()
    each = Runner(lambda: lambda: loading.wait(30) and [], Policy())
    each.start()
    assert not each.stop(0.1)
    assert each.jobs.current.state == "cancelled"
    loading.set()


def test_the_first_warmup_cancelled_before_it_ran_is_not_ready_and_exits():
    loading, ended = threading.Event(), []
    model = Model(load=lambda: loading.wait(30))
    each = Runner(
        lambda: lambda: [model.target],
        Policy(on_warmup_failure="exit"),
        end_process=lambda: ended.append(1),
    )
    each.start()
    wait_until(lambda: each.jobs.current.planned)
    each.cancel(each.jobs.current.id)
    loading.set()
    wait_until(lambda: ended)
    assert each.lifecycle.state is ProcessState.NOT_WARM
    assert each.stop()


def test_a_request_that_cannot_be_planned_takes_no_readiness():
    loading = threading.Event()
    model = Model()
    each = Runner(
        lambda: lambda: loading.wait(30) and [model.target],
        Policy(warmup="on-request", ready_when="loaded"),
    )
    each.start()
    job, _ = each.submit(WarmupRequest(targets=["nope"]))
    loading.set()
    wait_until(lambda: job.is_over)
    wait_until(lambda: each.lifecycle.state is not ProcessState.LOADING)
    assert job.state == "failed"
    assert each.lifecycle.is_ready
    assert each.stop()


def test_what_a_cancelled_job_made_warm_is_run_again(serve):
    """`already_warm` comes with a job that came to its end."""
    first, second, third = (Model(name, sizes=(1,)) for name in ("a", "b", "c"))
    entered, go_on = threading.Event(), threading.Event()

    def run(shape):
        second.run(shape)
        if len(second.runs) == 3:  # in the verify pass, after `a` was verified
            entered.set()
            assert go_on.wait(30)

    held = WarmupTarget("b", run, [{"batch": 1}])
    client = serve(factory=lambda: [first.target, held, third.target])
    job = client.post("/warmup").json()
    assert entered.wait(30)
    client.delete(f"/warmup/jobs/{job['id']}")
    go_on.set()
    wait_until(lambda: client.get(f"/warmup/jobs/{job['id']}").json()["state"] == "cancelled")
    ended = client.get(f"/warmup/jobs/{job['id']}").json()
    assert ended["items"][0]["state"] == "warm"
    again = client.post("/warmup?wait=60", json={"targets": ["a"]}).json()
    assert (again["id"] != job["id"], again["already_warm"]) == (True, False)
    once_more = client.post("/warmup?wait=60", json={"targets": ["a"]}).json()
    assert (once_more["id"], once_more["already_warm"]) == (again["id"], True)


def test_nobody_joins_a_job_that_is_being_cancelled(serve):
    model = Model()
    client = serve(model)
    model.hold()
    job = client.post("/warmup").json()
    wait_until(model.entered.is_set)
    assert client.delete(f"/warmup/jobs/{job['id']}").json()["state"] == "cancelling"
    conflict = client.post("/warmup")
    assert conflict.status_code == 409
    assert conflict.json()["type"] == "urn:compilespan:problem:plan-conflict"
    model.go_on.set()
    wait_until(lambda: client.get("/warmup").json()["state"] == "cancelled")
    assert client.post("/warmup?wait=60").status_code == 200


def test_names_that_are_not_known_yet_join_no_job_for_all(serve):
    go_on = threading.Event()

    def factory():
        assert go_on.wait(30)
        return [Model().target]

    client = serve(factory=factory, wait_loaded=False, warmup="on-start")
    wait_until(lambda: client.get("/warmup/jobs").json())
    for body in ({"targets": ["nope"]}, {"shapes": {"net": [{"batch": 99}]}}):
        assert client.post("/warmup", json=body).status_code == 409
    assert client.post("/warmup").status_code == 202
    go_on.set()
    wait_until(lambda: client.get("/readyz").status_code == 200)
    assert client.post("/warmup", json={"targets": ["nope"]}).status_code == 404


class Unspeakable(Exception):
    def __str__(self):
        raise KeyboardInterrupt


def _chained():
    error = ValueError("first")
    for number in range(3000):
        error = _caused(ValueError(str(number)), error)
    return error


def _caused(error, cause):
    error.__cause__ = cause
    return error


class Nameless(type):
    def __getattribute__(cls, name):
        if name == "__name__":
            raise AttributeError(name)
        return super().__getattribute__(name)


class OfNoName(Exception, metaclass=Nameless):
    pass


BAD_ERRORS = [
    Unspeakable,
    lambda: SyntaxError("x", ("f", 1, 1, 5)),
    _chained,
    lambda: OfNoName("x"),
    KeyboardInterrupt,
]


@pytest.mark.parametrize("where", ["factory", "load"])
@pytest.mark.parametrize("make", BAD_ERRORS)
def test_whatever_loading_raises_is_a_failed_load_and_the_thread_lives(serve, where, make):
    def raising():
        raise make()

    target = WarmupTarget("net", lambda _: None, [{"batch": 1}], load=raising)
    factory = raising if where == "factory" else lambda: [target]
    client = serve(factory=factory, warmup="on-start")
    wait_until(lambda: client.get("/livez").json()["state"] == "load-failed")
    wait_until(lambda: client.get("/warmup").json()["state"] == "failed")
    assert client.post("/warmup").status_code == 404


@pytest.mark.parametrize("make", BAD_ERRORS)
def test_whatever_a_run_raises_fails_its_item_and_ends_the_job(serve, make):
    def raising(_):
        raise make()

    client = serve(factory=lambda: [WarmupTarget("net", raising, [{"batch": 1}])])
    assert client.post("/warmup?wait=30").status_code == 500
    assert client.get("/warmup").json()["state"] == "failed"
    assert client.post("/warmup?wait=30").status_code == 500


def test_after_a_warmup_that_failed_it_waits_for_the_next_one(serve):
    """Idle time has its name before the first request and after a failed one."""
    model = Model()
    model.failing.add(2)
    client = serve(model)
    client.post("/warmup?wait=60")
    before_s = client.get("/totals").json()["start"]["wait"]
    time.sleep(0.3)
    assert client.get("/totals").json()["start"]["wait"] >= before_s + 0.25
