// One feature: what is known of it, its steps as a timeline, its events.

import { duration, element, eventWords, icon, isRunning, repositoryName, stateBadge, stepWord, timeElement, webLink } from "./words.js";

const panel = document.getElementById("detail");

const at = (time) => (time ? Date.parse(time) : NaN);
const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

function facts(feature) {
  const rows = [
    ["State", stateBadge(feature.state)],
    ["Repository", element("span", { class: "mono" }, feature.repository_url ?? "")],
    ["Branch", feature.branch && element("span", { class: "mono" }, feature.branch)],
    ["Created", feature.created_at && timeElement(feature.created_at, new Date(feature.created_at).toLocaleString())],
    ["Took", feature.completed_at && duration(at(feature.completed_at) - at(feature.created_at))],
    ["Id", element("span", { class: "mono" }, feature.id)],
  ];
  return element("dl", { class: "facts" }, ...rows.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

const OUTCOMES = { done: "COMPLETED", failed: "FAILED", running: "EXECUTING" };

// A step as a bar: where it lies between the first step's beginning and the last one's end.
function step(item, from, whole, now) {
  const begun = at(item.started_at);
  const ended = Number.isNaN(at(item.completed_at)) ? now : at(item.completed_at);
  const bar = element("i");
  if (!Number.isNaN(begun)) {
    bar.style.setProperty("--from", `${Math.min(99, (100 * (begun - from)) / whole)}%`);
    bar.style.setProperty("--part", `${Math.min(100, (100 * (ended - begun)) / whole)}%`);
  }
  const attempts = item.attempts > 1 ? `${item.attempts} attempts` : "";
  const note = [attempts, item.error].filter(Boolean).join(": ");
  return element(
    "li",
    { class: "step", "data-outcome": item.outcome },
    element("span", { "data-state": OUTCOMES[item.outcome] ?? "PENDING", class: "state" }, icon(OUTCOMES[item.outcome] ?? "PENDING")),
    element("span", {}, stepWord(item.step_type), element("span", { class: "unseen" }, `, ${item.outcome}`)),
    element("span", { class: "bar", "aria-hidden": "true" }, bar),
    element("span", { class: "time" }, Number.isNaN(begun) ? "" : duration(ended - begun)),
    note && element("p", { class: "note" }, note),
  );
}

function steps(items) {
  if (!items.length) return element("p", { class: "keys" }, "No step has begun.");
  const now = Date.now();
  const from = Math.min(...items.map((item) => at(item.started_at)).filter(Number.isFinite), now);
  const to = Math.max(...items.map((item) => (item.completed_at ? at(item.completed_at) : now)));
  return element("ol", { class: "steps" }, ...items.map((item) => step(item, from, Math.max(1, to - from), now)));
}

function history(events) {
  const row = (event) =>
    element(
      "li",
      { class: "event" },
      timeElement(event.created_at, clock(event.created_at)),
      element("p", {}, eventWords(event), event.error && element("br"), event.error && element("small", {}, event.error)),
    );
  return element("ol", { class: "history" }, ...events.map(row));
}

function artifacts(items) {
  const row = (item) =>
    element("li", {}, webLink(item.url, String(item.key).split("/").pop()), element("code", { title: `SHA-256 ${item.sha256}` }, String(item.sha256).slice(0, 12)));
  return element("ul", { class: "artifacts" }, ...items.map(row));
}

// Draws the panel; `actions` are { close, cancel }.
export function draw(feature, timeline, actions) {
  const active = panel.contains(document.activeElement) ? document.activeElement.dataset.action : undefined;
  const close = element("button", { type: "button", class: "quiet", "data-action": "close", "aria-label": "Close this feature" }, "Close");
  close.addEventListener("click", actions.close);
  const cancel = element("button", { type: "button", "data-action": "cancel" }, "Cancel this feature");
  cancel.addEventListener("click", () => actions.cancel(cancel));
  panel.replaceChildren(
    element("header", {}, element("h2", { id: "detail-title" }, repositoryName(feature.repository_url)), close),
    facts(feature),
    feature.error ? element("p", { class: "why" }, feature.error) : "",
    element("h3", {}, "Steps"),
    timeline ? steps(timeline.steps) : element("p", { class: "keys" }, "Loading"),
    ...(feature.artifacts?.length ? [element("h3", {}, "Artifacts"), artifacts(feature.artifacts)] : []),
    ...(timeline?.events.length ? [element("h3", {}, "Events"), history(timeline.events)] : []),
    ...(isRunning(feature.state) ? [element("p", { class: "actions" }, cancel)] : []),
  );
  panel.hidden = false;
  if (active) (panel.querySelector(`[data-action="${active}"]`) ?? panel).focus();
}

export function hide() {
  panel.hidden = true;
  panel.replaceChildren();
}

export const focus = () => panel.focus();
export const contains = (node) => panel.contains(node);
