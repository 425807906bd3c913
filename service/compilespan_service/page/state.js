// The state of the server: polled repeatedly, with live events of the running job.

import { events, json } from "./api.js";

export const MOST = 4096;

export const state = {
  totals: null, health: null, ready: false, job: null, jobs: [], records: [], starts: [],
  findings: [], compiled: null,
  ahead: 0,  // milliseconds that the server's clock is ahead of this one
  live: new Map(),  // compiles in progress of the followed job, by key
  followed: null, which: "startup", said: null,
};

export async function refresh() {
  const [health, totals] = await Promise.all([json("livez"), json("totals")]);
  const [jobs, records, starts] = await Promise.all([
    json("warmup/jobs"), json(`compiles?limit=${MOST}`), json("history"),
  ]);
  // Findings change only when something was compiled.
  const compiled = JSON.stringify([totals.total, totals.ready_after_s, jobs[0]?.state]);
  const findings = compiled === state.compiled ? state.findings : await json("findings");
  // Do not ask /readyz: its 503 is not an error, but browsers log it as one.
  const ready = totals.ready_after_s !== null && health.state !== "draining";
  const ahead = Date.parse(totals.as_of) - Date.now();
  Object.assign(state, {
    ahead, health, totals, jobs, records, starts, findings, compiled, ready, job: jobs[0] ?? null,
  });
  if (isBusy() && state.followed !== state.job.id) follow(state.job.id);
}

/** The current time of the server's clock, in milliseconds since 1970. */
export function now() {
  return Date.now() + state.ahead;
}

export function isBusy() {
  return Boolean(state.job && !state.job.ended_at);
}

export function thisStart() {
  return state.starts.find((each) => each.instance === state.totals?.scope.instance);
}

async function follow(id) {
  state.followed = id;
  state.live.clear();
  try {
    for await (const [name, data] of events(`warmup/jobs/${id}/events`)) {
      if (name === "begin") state.live.set(data.key, { ...data, events: [] });
      if (name === "graph" || name === "event") state.live.get(data.key)?.events.push(data);
      if (name === "compile") {
        state.live.delete(data.key);
        state.records = [data.compile, ...state.records];
      }
      if (name === "job") state.job = data;
      if (name === "end") break;
    }
  } catch {
    state.followed = null;  // the server is gone; the next refresh shows that
  }
  state.live.clear();
}
