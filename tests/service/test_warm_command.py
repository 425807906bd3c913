"""``compilespan warm`` against real servers in threads; one that answers oddly is scripted."""

from __future__ import annotations

import json
import threading

import httpx
import pytest
from fastapi import Depends, FastAPI, Response

from compilespan_service.app import warmup_router
from compilespan_service.cli.commands import app as commands
from compilespan_service.cli.fleet import addresses
from compilespan_service.settings import Settings
from serving import Model
from support import cli_runner, free_port


def warm(*arguments, env=None, stdin=None):
    """Run the command; return its exit code, its JSON and standard error."""
    done = cli_runner().invoke(commands, ["warm", *arguments, "--json"], env=env, input=stdin)
    return done.exit_code, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_a_server_is_warmed_up_and_followed(serve_at_port):
    server = serve_at_port(Model(sizes=(1, 2)))
    code, said, log = warm(server.url)
    assert code == 0
    (found,) = said["servers"]
    assert (found["state"], found["job"]["state"]) == ("warm", "succeeded")
    assert [item["state"] for item in found["job"]["items"]] == ["warm", "warm"]
    assert f"{server.url}: " in log
    assert warm(server.url)[1]["servers"][0]["job"]["already_warm"]


def test_the_table_has_the_slowest_first_and_what_went_wrong(serve_at_port):
    bad = Model("bad", sizes=(1, 2))
    bad.failing.add(2)
    good, other = serve_at_port(Model(sizes=(1,))), serve_at_port(bad)
    done = cli_runner().invoke(commands, ["warm", good.url, other.url])
    assert done.exit_code == 1
    rows = [line for line in done.stdout.splitlines() if line.startswith("http")]
    assert any(other.url in row and "not warm" in row and "1 of 2" in row for row in rows)
    assert any(good.url in row and "1 of 1" in row for row in rows)
    assert "bad batch=2: failed: " in done.stdout
    assert "no kernel" in done.stdout


def test_a_server_that_is_not_up_yet_is_waited_for(serve_at_port):
    port = free_port()
    started = []
    timer = threading.Timer(
        2.0, lambda: started.append(serve_at_port(Model(sizes=(1,)), port=port))
    )
    timer.start()
    code, said, log = warm(f"http://127.0.0.1:{port}", "--timeout", "60")
    timer.join()
    assert code == 0
    assert "no answer" in log
    assert said["servers"][0]["elapsed_s"] >= 1.0


def test_time_that_is_up_is_3_and_says_what_goes_on(serve_at_port):
    model = Model(sizes=(1,))
    model.hold()
    server = serve_at_port(model)
    code, said, log = warm(server.url, "http://127.0.0.1:1", "--timeout", "2")
    assert code == 3
    assert [each["state"] for each in said["servers"]] == ["unfinished", "unfinished"]
    job = said["servers"][0]["job"]["id"]
    assert f"curl -X DELETE {server.url}/warmup/jobs/{job}" in log
    assert "127.0.0.1:1/warmup/jobs" not in log


def test_the_token_is_sent_and_a_wrong_one_is_refused_at_once(serve_at_port):
    server = serve_at_port(Model(sizes=(1,)), is_open=False, token="right")
    code, said, _ = warm(server.url)
    assert (code, said["servers"][0]["state"]) == (1, "refused")
    assert "--token-env" in said["servers"][0]["note"]
    assert warm(server.url, env={"COMPILESPAN_TOKEN": "wrong"})[0] == 1
    assert warm(server.url, "--token-env", "MINE", env={"MINE": "right"})[0] == 0


def test_another_plan_that_runs_is_waited_for(serve_at_port):
    model = Model(sizes=(1, 2))
    model.hold()
    server = serve_at_port(model)
    first = httpx.post(f"{server.url}/warmup", json={"shapes": {"net": [{"batch": 1}]}})
    assert first.status_code == 202
    threading.Timer(2.0, model.go_on.set).start()
    code, said, log = warm(server.url, "--timeout", "60")
    assert code == 0
    assert "409" in log
    assert said["servers"][0]["job"]["id"] != first.json()["id"]


def test_a_server_that_restarts_is_warmed_up_again(serve_at_port, tmp_path):
    model = Model(sizes=(1, 2))
    model.hold()
    server = serve_at_port(model)
    again = Model(sizes=(1, 2))

    def restart():
        assert model.entered.wait(30)
        server.stop()
        model.go_on.set()
        app = FastAPI()
        settings = Settings(warmup="on-request", state_dir=tmp_path / "other")
        allowed = [Depends(lambda: None)]
        app.include_router(warmup_router([again.target], settings=settings, dependencies=allowed))
        server.start(app)

    thread = threading.Thread(target=restart)
    thread.start()
    code, said, _ = warm(server.url, "--timeout", "90")
    thread.join()
    assert (code, said["servers"][0]["state"]) == (0, "warm")
    assert again.runs


def test_answers_that_mean_later_are_tried_again(scripted):
    app, answers = FastAPI(), iter([503, 429, 502])

    @app.post("/ops/warmup")
    def busy(response: Response):
        response.status_code = next(answers, 422)
        response.headers["Retry-After"] = "0"
        return {"detail": "busy"}

    code, said, log = warm(f"{scripted(app)}/ops/", "--timeout", "60")
    assert (code, said["servers"][0]["note"]) == (1, "422 busy")
    assert [word for word in ("503", "429", "502") if word in log] == ["503", "429", "502"]


ROW = {"compile_s": 1.0, "cache_misses": 1}
JOB = {"id": "a", "state": "succeeded", "items": [], "totals": {"total": ROW, "other": ROW}}


@pytest.mark.parametrize(
    "answer",
    [
        *([], "text", {}, {"id": 1}, {**JOB, "items": 3}, {**JOB, "totals": {"encoder": 3}}),
        *({**JOB, "items": [1]}, {**JOB, "items": [{"target": "a"}]}, {**JOB, "state": "exploded"}),
    ],
)
def test_who_answers_as_no_compilespan_does_is_refused(scripted, answer):
    app = FastAPI()
    app.post("/warmup")(lambda: answer)
    code, said, _ = warm(scripted(app), "--timeout", "20")
    assert (code, said["servers"][0]["state"]) == (1, "refused")
    assert "answers as no compilespan does" in said["servers"][0]["note"]


def test_a_path_that_is_not_there_says_so(scripted):
    said = warm(scripted(FastAPI()))[1]
    assert said["servers"][0]["note"].startswith("404 it has no such endpoint")


def test_urls_come_from_a_file_or_standard_input_each_once(tmp_path):
    file = tmp_path / "servers"
    file.write_text("http://127.0.0.1:1  # first\n\nhttp://127.0.0.1:1/\n", "utf-8-sig")
    code, said, _ = warm("--from-file", str(file), "--timeout", "0")
    assert (code, [each["url"] for each in said["servers"]]) == (3, ["http://127.0.0.1:1"])
    assert warm("--from-file", "-", "--timeout", "0", stdin="http://127.0.0.1:2\n")[0] == 3


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "give the URL of a server"),
        (["host:8000"], "is no URL of a server"),
        (["ftp://host"], "is no URL of a server"),
        (["http://h:port"], "is no URL"),
        (["http://h/ops?token=abc"], "has a query or a fragment"),
        (["http://h/ops#frag"], "has a query or a fragment"),
        (["--from-file", "/nowhere/servers"], "cannot be read"),
        (["http://h", "--token-env", "NOT_SET"], "this variable is not set"),
        (["http://h", "--concurrency", "0"], "concurrency"),
    ],
)
def test_what_cannot_be_right_is_2_and_one_sentence(arguments, why):
    done = cli_runner().invoke(commands, ["warm", *arguments])
    assert done.exit_code == 2
    assert why in done.stderr


def test_few_at_a_time_and_all_in_the_end(serve_at_port):
    servers = [serve_at_port(Model(f"net{number}", sizes=(1,))) for number in range(3)]
    code, said, _ = warm(*(each.url for each in servers), "--concurrency", "1")
    assert (code, [each["state"] for each in said["servers"]]) == (0, ["warm"] * 3)


def test_a_name_is_looked_up_until_it_has_enough_addresses(monkeypatch):
    """Faked: no name with several addresses exists here."""
    answers = iter([OSError("no such name"), ["10.0.0.4"], ["10.0.0.4", "10.0.0.5"]])

    def getaddrinfo(*_, **__):
        found = next(answers)
        if isinstance(found, OSError):
            raise found
        return [(None, None, None, "", (address, 0)) for address in found]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(addresses, "_LOOK_S", 0.01)
    found = addresses.resolved(["http://pods:1"], 2, 9.0)
    assert found == ["http://10.0.0.4:1", "http://10.0.0.5:1"]


@pytest.mark.parametrize(
    ("url", "address", "expected"),
    [
        ("http://pods:8000/ops", "10.0.0.4", "http://10.0.0.4:8000/ops"),
        ("http://pods", "fd00::4", "http://[fd00::4]"),
    ],
)
def test_an_address_replaces_the_name_alone(monkeypatch, url, address, expected):
    info = [(None, None, None, "", (address, 0))]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: info)
    assert addresses.resolved([url], 1, 0.0) == [expected]


def test_a_name_with_too_few_addresses_is_3(monkeypatch):
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: [])
    done = cli_runner().invoke(
        commands, ["warm", "http://user:pass@pods:1", "--resolve", "2", "--timeout", "0"]
    )
    assert done.exit_code == 3
    assert "http://pods:1 has 0 of 2 addresses" in done.stderr
    assert "pass" not in done.stderr


def test_localhost_is_resolved(serve_at_port):
    server = serve_at_port(Model(sizes=(1,)))
    url = f"http://127.0.0.1:{server.port}"
    code, said, _ = warm(url, "--resolve", "1")
    assert (code, said["servers"][0]["url"]) == (0, url)


def test_an_event_that_cannot_be_read_costs_nothing(scripted):
    app, states = FastAPI(), iter(["running", "succeeded"])

    @app.post("/warmup")
    def begin():
        return {**JOB, "state": "running"}

    @app.get("/warmup/jobs/a/events")
    def events():
        return Response("event: job\ndata: notjson\n\n", media_type="text/event-stream")

    @app.get("/warmup/jobs/a")
    def job():
        return {**JOB, "state": next(states), "warnings": None}

    code, said, _ = warm(scripted(app), "--timeout", "20")
    assert (code, said["servers"][0]["state"]) == (0, "warm")


def test_a_token_that_is_refused_later_ends_it_and_names_the_job(scripted):
    app = FastAPI()

    @app.post("/warmup")
    def begin():
        return {**JOB, "state": "running"}

    @app.get("/warmup/jobs/a")
    @app.get("/warmup/jobs/a/events")
    def refused():
        return Response(status_code=401)

    url = scripted(app)
    code, said, log = warm(url, "--timeout", "20")
    assert (code, said["servers"][0]["state"]) == (1, "refused")
    assert f"curl -X DELETE {url}/warmup/jobs/a" in log


def test_an_answer_without_end_is_refused(scripted, monkeypatch):
    monkeypatch.setattr(addresses, "MAX_BYTES", 1000)
    app = FastAPI()
    app.post("/warmup")(lambda: {**JOB, "rest": "x" * 2000})
    said = warm(scripted(app), "--timeout", "20")[1]
    assert "its answer has more than" in said["servers"][0]["note"]


def test_passwords_of_urls_are_not_shown():
    url = "http://user:pass@127.0.0.1:1"
    done = cli_runner().invoke(commands, ["warm", url, "--timeout", "1"])
    assert "http://127.0.0.1:1" in done.stdout
    assert "pass" not in done.stdout + done.stderr
    assert "pass" not in cli_runner().invoke(commands, ["totals", url]).output
