"""Who may ask; each line of SPEC's security, with hostile requests."""

from __future__ import annotations

import statistics
import time

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials
from fastapi.testclient import TestClient
from pydantic import SecretStr

from compilespan_service.app import create_app, warmup_router
from compilespan_service.door.security import Guard, own_names
from compilespan_service.door.tokens import TokenError, configured_tokens, is_loopback
from compilespan_service.settings import Settings
from serving import Model

PROBES = ("/livez", "/startupz", "/readyz")


def problem(response, kind, status):
    assert response.status_code == status, response.text
    assert response.json()["type"] == f"urn:compilespan:problem:{kind}"
    return response.json()


def server(**settings):
    """Return a client of the service as `compilespan serve` on loopback makes it."""
    settings = Settings(factory="json:loads", warmup="on-request", **settings)
    app = create_app(settings, bound="127.0.0.1", changes_allowed=True)
    return TestClient(app, base_url="http://127.0.0.1:8000")


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", "Basic s3cret", "s3cret"])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/warmup"), ("GET", "/warmup"), ("GET", "/totals")]
)
def test_without_the_token_everything_is_401(method, path, header):
    headers = {"Authorization": header} if header else {}
    response = server(token="s3cret").request(method, path, headers=headers)
    body = problem(response, "unauthorized", 401)
    assert response.headers["www-authenticate"] == "Bearer"
    assert "s3cret" not in response.text
    assert "Authorization: Bearer" in body["detail"]


def test_with_the_token_it_is_answered():
    client = server(token="s3cret")
    headers = {"Authorization": "Bearer s3cret"}
    assert client.get("/totals", headers=headers).status_code == 200
    assert client.get("/totals", headers={"Authorization": "bearer  s3cret "}).status_code == 200


@pytest.mark.parametrize("path", PROBES)
def test_probes_want_no_token(path):
    assert server(token="s3cret").get(path).status_code in (200, 503)


def test_the_token_may_lie_in_a_file(tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    client = server(token_file=tmp_path / "token")
    assert client.get("/totals").status_code == 401
    headers = {"Authorization": "Bearer s3cret"}
    assert client.get("/totals", headers=headers).status_code == 200


@pytest.mark.parametrize("content", [None, "", " \n", b"\xff\xfe"])
def test_a_token_file_without_a_token_is_told(tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TokenError, match="cannot be read|the token is empty"):
        configured_tokens(None, path)


def test_the_time_of_a_refusal_tells_nothing_of_the_token():
    guard = Guard(configured_tokens(SecretStr("a" * 64), None))

    def refusal(given):
        credentials = HTTPAuthorizationCredentials(scheme="Bearer", credentials=given)
        times = []
        for _ in range(400):
            began = time.perf_counter_ns()
            with pytest.raises(Exception, match="token"):
                guard._check_token(credentials)
            times.append(time.perf_counter_ns() - began)
        return statistics.median(times)

    first_wrong, last_wrong = refusal("b" * 64), refusal("a" * 63 + "b")
    assert 0.5 < first_wrong / last_wrong < 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_form_of_another_site_changes_nothing(headers):
    client = server()
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    problem(client.post("/warmup", headers=headers, content="a=b"), "cross-site", 403)


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://127.0.0.1:8000"}])
def test_our_own_page_and_programs_may_change(headers):
    assert server().post("/warmup", headers=headers).status_code != 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/warmup"), ("GET", "/totals")])
def test_a_name_that_was_rebound_to_this_machine_is_refused(host, method, path):
    headers = {"Host": host, "Origin": f"http://{host}"}
    problem(server().request(method, path, headers=headers), "cross-site", 403)


@pytest.mark.parametrize("host", ["[", "[::1", "a b", "", "127.0.0.1@evil.example", "a/b", "\xff"])
def test_a_host_that_is_none_is_refused(host):
    headers = {"Host": host.encode("latin-1")}
    problem(server().get("/totals", headers=headers), "cross-site", 403)


@pytest.mark.parametrize("origin", ["http://[", "null", "http://127.0.0.1:8000.evil.example"])
def test_an_origin_that_is_none_is_refused(origin):
    problem(server().post("/warmup", headers={"Origin": origin}), "cross-site", 403)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_the_names_of_this_machine_are_ours(host):
    assert server().get("/totals", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("token", [None, "s3cret"])
def test_the_operator_allows_further_names(token):
    client = server(token=token, allowed_hosts="warmup.example, *.svc.cluster.local,[fd00::1]")
    auth = {"Authorization": "Bearer s3cret"}

    def status(host):
        return client.get("/totals", headers={"Host": host, **auth}).status_code

    for allowed in ("warmup.example", "a.svc.cluster.local:80", "[fd00::1]:8000", "127.0.0.1"):
        assert status(allowed) == 200
    for other in ("x.warmup.example", "svc.cluster.local", "asvc.cluster.local", "evil.example"):
        assert status(other) == 403


def test_a_server_is_called_by_the_address_that_is_reached():
    """As with ``--host 0.0.0.0``: a kubelet and Prometheus ask by address."""
    app = create_app(Settings(factory="json:loads"), bound="0.0.0.0")
    client = TestClient(app, base_url="http://10.1.2.3:8000")
    assert client.get("/totals").status_code == 200
    problem(client.get("/totals", headers={"Host": "10.1.2.4"}), "cross-site", 403)
    problem(client.get("/totals", headers={"Host": "evil.example"}), "cross-site", 403)


def test_an_app_without_a_token_refuses_changes():
    client = TestClient(create_app(Settings()), base_url="http://127.0.0.1:8000")
    problem(client.post("/warmup"), "not-configured", 403)
    problem(client.delete("/warmup/jobs/1"), "not-configured", 403)


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"x" * 1_000_000, {}),
        (b"{", {"Content-Type": "application/json"}),
        (b'{"a": 1}', {"Content-Type": "application/json"}),
    ],
)
def test_who_may_not_ask_is_told_so_whatever_is_sent(content, headers):
    client = server(token="s3cret")
    problem(client.post("/warmup", content=content, headers=headers), "unauthorized", 401)
    problem(client.get("/totals?scope=nonsense"), "unauthorized", 401)


def test_the_api_says_that_it_wants_a_token():
    client = server(token="s3cret")
    problem(client.get("/openapi.json"), "unauthorized", 401)
    document = client.get("/openapi.json", headers={"Authorization": "Bearer s3cret"}).json()
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert bool(operation.get("security")) == (path not in PROBES), path


def test_the_api_wants_nothing_if_there_is_no_token():
    document = server().get("/openapi.json").json()
    assert "securitySchemes" not in document["components"]


@pytest.mark.parametrize(
    ("reached", "host"),
    [("::ffff:10.0.0.5", "10.0.0.5:8000"), ("fe80::1%eth0", "[fe80::1]:8000")],
)
def test_an_address_is_the_same_however_it_is_written(reached, host):
    guard = Guard(hosts=own_names("::", None))
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "scheme": "http"}
    scope |= {"server": (reached, 8000), "headers": [(b"host", host.encode())]}
    guard.check(Request(scope), None)
    with pytest.raises(Exception, match="is not allowed"):
        guard.check(Request({**scope, "headers": [(b"host", b"10.0.0.6")]}), None)


def test_names_are_compared_without_case_and_port():
    assert {"myhost", "a.example", "::2"} <= own_names("MyHost", "A.example:8080,[::2]:80")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/nowhere", "/page/nowhere.js"])
def test_what_is_not_there_is_a_problem(path):
    problem(server().get(path), "not-found", 404)


def test_what_is_not_done_is_a_problem_that_says_what_is():
    response = server().put("/warmup")
    problem(response, "method-not-allowed", 405)
    assert response.headers["allow"] == "GET, HEAD, POST"


GETS = ("/", "/livez", "/readyz", "/startupz", "/totals", "/compiles", "/history", "/metrics")


@pytest.mark.parametrize("path", [*GETS, "/warmup/jobs", "/compiles/trace.json", "/openapi.json"])
def test_head_answers_as_get_without_a_body(path):
    client = server()
    got, headed = client.get(path), client.head(path)
    assert headed.status_code == got.status_code
    assert headed.content == b""
    assert headed.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("token", ["caf\xe9", "two words", "tab\tbed", "\u4f60"])
def test_a_token_that_no_header_can_carry_is_refused_at_the_start(token):
    with pytest.raises(TokenError, match="printable ASCII"):
        create_app(Settings(token=token))


def mounted(model, **options):
    app = FastAPI()
    settings = Settings(warmup="on-request", **options.pop("settings", {}))
    app.include_router(warmup_router([model.target], settings=settings, **options), prefix="/ops")
    return TestClient(app)


def test_a_router_without_authentication_refuses_changes_and_says_how_to_allow_them():
    with mounted(Model()) as client:
        body = problem(client.post("/ops/warmup"), "not-configured", 403)
        assert "dependencies" in body["detail"]
        assert client.get("/ops/totals").status_code == 200


def test_a_router_with_a_token_or_the_apps_own_dependency_accepts_them():
    def own_authentication(request: Request):
        if request.headers.get("x-key") != "mine":
            raise HTTPException(401)

    with mounted(Model(), settings={"token": "s3cret"}) as client:
        headers = {"Authorization": "Bearer s3cret"}
        response = client.post("/ops/warmup?wait=60", headers=headers)
        assert response.status_code == 200
        assert client.get("/ops/warmup", headers=headers).status_code == 200
    with mounted(Model(), dependencies=[Depends(own_authentication)]) as client:
        assert client.post("/ops/warmup").status_code == 401
        assert client.get("/ops/totals").status_code == 401
        assert client.get("/ops/readyz").status_code == 503
        response = client.post("/ops/warmup?wait=60", headers={"x-key": "mine"})
        assert response.status_code == 200
        assert response.headers["location"].startswith("/ops/warmup/jobs/")


def test_a_body_that_is_too_large_is_told(serve):
    body = {"targets": ["x" * 1000] * 300}
    client = serve(Model())
    problem(client.post("/warmup", json=body), "body-too-large", 413)

    def endless():
        for _ in range(300):
            yield b"x" * 1024

    headers = {"content-type": "application/json"}
    problem(client.post("/warmup", content=endless(), headers=headers), "body-too-large", 413)


@pytest.mark.parametrize("job", ["..%2f..%2fetc%2fpasswd", "%00", "a" * 5000])
def test_a_job_id_leads_nowhere_else(serve, job):
    response = serve(Model()).get(f"/warmup/jobs/{job}")
    assert response.status_code == 404
    assert "root:" not in response.text


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.com", False),
    ],
)
def test_what_only_this_machine_reaches(host, expected):
    assert is_loopback(host) is expected


def test_ten_thousand_items_are_refused_with_the_field(serve):
    shapes = [{"batch": size} for size in range(10_000)]
    response = serve(Model()).post("/warmup", json={"shapes": {"net": shapes}})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "body.shapes.net"
    assert len(response.content) < 2000


def test_settings_are_what_is_given_else_what_the_environment_names(monkeypatch):
    monkeypatch.setenv("COMPILESPAN_READY_WHEN", "loaded")
    monkeypatch.setenv("COMPILESPAN_BUDGET_S", "5")
    monkeypatch.setenv("COMPILESPAN_STATE_DIR", "")
    monkeypatch.setenv("COMPILESPAN_UNKNOWN", "x")
    settings = Settings(budget_s=6)
    assert (settings.ready_when, settings.budget_s, settings.state_dir) == ("loaded", 6, None)
    monkeypatch.setenv("COMPILESPAN_TOKEN", "")
    with pytest.raises(TokenError, match="empty"):
        create_app(Settings())
    monkeypatch.setenv("COMPILESPAN_WARMUP", "sometimes")
    with pytest.raises(ValueError, match="on-start"):
        Settings()


def test_a_slash_too_many_leads_nowhere_else():
    """A redirect would go to whatever host the request names, unasked."""
    client = TestClient(create_app(Settings(token="secret")), follow_redirects=False)
    for method in ("get", "post"):
        answer = getattr(client, method)("/warmup/", headers={"Host": "evil.com"})
        assert answer.status_code == 404
        assert "location" not in answer.headers
