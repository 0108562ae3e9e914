// Requests to the server. The token comes in the fragment of the address, which no server sees, and
// is kept for this tab alone.

const KEY = "codeling-token";

export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Take the token out of the address, so that it is not in the history. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
}

export function setToken(token) {
  sessionStorage.setItem(KEY, token.trim());
}

async function send(path, options) {
  const token = sessionStorage.getItem(KEY);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, "no answer from the server; is codeling serve still running?");
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    throw new ServerError(response.status, answer?.error?.message ?? `status ${response.status}`);
  }
  return answer;
}

export const get = (path) => send(path, { method: "GET" });
export const post = (path, body = {}, signal = undefined) =>
  send(path, { method: "POST", body: JSON.stringify(body), signal });
