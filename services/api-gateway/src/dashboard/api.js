// Calls of the gateway, and the stream of events. Errors are { code, message, status }.

const SERVICE = "/feature.feature.v1.FeatureService/";
let token = sessionStorage.getItem("token") ?? "";

export class CallError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function useToken(text) {
  token = text;
  sessionStorage.setItem("token", text);
}

function headers() {
  const all = { "content-type": "application/json" };
  if (token) all.authorization = `Bearer ${token}`;
  return all;
}

async function failure(response) {
  const told = await response.json().catch(() => ({}));
  const message = typeof told.message === "string" && told.message ? told.message : `The gateway answered with status ${response.status}.`;
  return new CallError(response.status, told.code ?? "unknown", message);
}

async function send(path, options) {
  try {
    return await fetch(path, { credentials: "omit", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new CallError(0, "unreachable", "The gateway can’t be reached.");
  }
}

export async function call(method, request = {}) {
  const response = await send(SERVICE + method, { method: "POST", headers: headers(), body: JSON.stringify(request) });
  if (!response.ok) throw await failure(response);
  return response.json();
}

export async function services() {
  const response = await send("/dashboard/services", { headers: headers() });
  if (!response.ok) throw await failure(response);
  return (await response.json()).services;
}

// Ends `controller`'s stream once the page has not been seen for a while: a browser has few connections for all pages of one address.
function endUnseen(controller) {
  let timer;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => controller.abort(), 30000);
  };
  document.addEventListener("visibilitychange", look);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
  };
}

const seen = () => new Promise((resolve) => (document.hidden ? document.addEventListener("visibilitychange", resolve, { once: true }) : resolve()));

// Follows all events without end while the page is seen; reports each, and how the connection is: "live" or a CallError.
export async function watch(onEvent, onState) {
  for (let wait = 1000; ; wait = Math.min(wait * 2, 15000)) {
    const controller = new AbortController();
    const done = endUnseen(controller);
    try {
      const request = { method: "POST", headers: { ...headers(), accept: "text/event-stream" }, body: "{}", signal: controller.signal };
      const response = await send(`${SERVICE}Watch`, request);
      if (!response.ok) throw await failure(response);
      wait = 1000;
      onState("live");
      await read(response.body, onEvent);
      onState(new CallError(0, "ended", "The stream of events ended."));
    } catch (error) {
      onState(error instanceof CallError ? error : new CallError(0, "broken", "The stream of events broke off."));
    } finally {
      done();
    }
    if (!controller.signal.aborted) await new Promise((resolve) => setTimeout(resolve, wait * (0.75 + Math.random() / 2)));
    await seen();
  }
}

// Reads server-sent events: lines of "name: value", an empty line ends one.
async function read(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) deliver(data.join("\n"), onEvent);
        data = [];
      } else if (line.startsWith("data:")) {
        data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
  }
}

function deliver(text, onEvent) {
  let event;
  try {
    event = JSON.parse(text);
  } catch {
    return;
  }
  if (event && typeof event.feature_execution_id === "string") onEvent(event);
}
