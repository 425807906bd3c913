// Requests to the public endpoints, with the token if one was entered.

const KEY = "compilespan-token";

export class Unauthorized extends Error {}

/** The server's answer to a request that failed. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail);
    this.document = document;
  }
}

export function useToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

export async function ask(path, options = {}) {
  const token = sessionStorage.getItem(KEY);
  // A header cannot carry other characters, and a valid token has no others.
  if (token && !/^[\x21-\x7e]+$/.test(token)) throw new Unauthorized("the token has invalid characters");
  const headers = token ? { Authorization: `Bearer ${token}`, ...options.headers } : options.headers;
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) throw new Unauthorized((await problem(response)).detail);
  return response;
}

/** The JSON of a successful answer; other answers throw Problem. */
export async function json(path, options = {}) {
  const response = await ask(path, options);
  if (!response.ok) throw new Problem(await problem(response));
  return response.json();
}

async function problem(response) {
  try {
    return await response.json();
  } catch {
    return { detail: `The server answered ${response.status}.` };
  }
}

/** Server-Sent Events by fetch, since EventSource cannot send a token. Yields [name, data]. */
export async function* events(path, signal) {
  const response = await ask(path, { signal });
  if (response.status !== 200) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => {
        const at = line.indexOf(": ");
        return [line.slice(0, at), line.slice(at + 2)];
      }));
      if (fields.data) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}

/** Download the answer of a path as a file; a plain link would not send the token. */
export async function download(path, name) {
  const url = URL.createObjectURL(await (await ask(path)).blob());
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
