// How things are said, and how elements are made. Text of features is from outside: it only ever becomes text.

export const STATES = ["PENDING", "ANALYZING", "PLANNING", "EXECUTING", "VERIFYING", "COMPLETED", "FAILED", "CANCELLED"];
export const ENDS = ["COMPLETED", "FAILED", "CANCELLED"];
export const isRunning = (state) => !ENDS.includes(state);

const SVG = "http://www.w3.org/2000/svg";

// Makes an element: attributes by name, children as elements or text. Nothing is ever read as HTML.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null && child !== ""));
  return made;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const stateWord = (state) => (STATES.includes(state) ? state[0] + state.slice(1).toLowerCase() : "Unknown");

export function stateBadge(state) {
  return element("span", { class: "state", "data-state": state }, icon(STATES.includes(state) ? state : "PENDING"), stateWord(state));
}

// The last two parts of a repository's URL, and where it is.
export function repositoryName(url) {
  const plain = String(url ?? "").replace(/\.git$/, "").replace(/\/+$/, "");
  const parts = plain.replace(/^[a-z+]+:\/\/[^/]*\//i, "").split("/").filter(Boolean);
  return parts.slice(-2).join("/") || plain || "unknown repository";
}

// The end of an id: the beginning is the time, and much the same for all.
export const shortId = (id) => String(id).slice(-8);

export function duration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (!Number.isFinite(seconds) || seconds < 0) return "";
  if (seconds < 1) return `${Math.round(milliseconds)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

export function ago(time, now = Date.now()) {
  const seconds = Math.max(0, (now - Date.parse(time)) / 1000);
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(time).toLocaleDateString();
}

export function timeElement(time, text) {
  return element("time", { datetime: time, title: new Date(time).toLocaleString() }, text);
}

const STEPS = { look: "Look", plan: "Plan", patch: "Patch", push: "Push", verify: "Verify", artifacts: "Artifacts" };
export const stepWord = (type) => STEPS[type] ?? String(type ?? "step");

// What an event says, as a sentence.
export function eventWords(event) {
  const step = stepWord(event.step_type).toLowerCase();
  switch (event.event_type) {
    case "feature.created": return "Feature created";
    case "feature.cancelled": return "Feature cancelled";
    case "feature.state_changed": return `${stateWord(event.previous_state)} → ${stateWord(event.state)}`;
    case "step.started": return `Step ${step} started`;
    case "step.completed": return `Step ${step} completed`;
    case "step.failed": return `Step ${step} failed`;
    case "repository.clone.failed": return "The repository could not be cloned";
    default: return String(event.event_type);
  }
}

// Links only to the web, whatever a text claims to be.
export function webLink(url, text) {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    return document.createTextNode(text);
  }
  if (!["http:", "https:"].includes(parsed.protocol)) return document.createTextNode(text);
  return element("a", { href: parsed.href, rel: "noopener noreferrer", target: "_blank" }, text);
}
