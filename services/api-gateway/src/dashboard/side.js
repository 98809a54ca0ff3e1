// Beside the features: how the services are, and what happened last.

import { ago, element, eventWords, icon, repositoryName, shortId, timeElement } from "./words.js";

const count = document.getElementById("services-count");
const services = document.getElementById("services");
const events = document.getElementById("events");
const none = document.getElementById("no-events");
const MOST = 40;
const last = [];
let servicesDrawn = "";
let drawing = 0;
let known = new Map();

function service(item) {
  const causes = item.checks.filter((check) => !check.ok).map((check) => `${check.name}: ${check.cause ?? "failed"}`);
  if (item.status === "unreachable") causes.push("it does not answer");
  const head = [icon(item.status), item.name, element("small", {}, item.status)];
  const body = causes.length
    ? element("details", {}, element("summary", {}, ...head), element("ul", {}, ...causes.map((cause) => element("li", {}, cause))))
    : element("span", { class: "plain" }, ...head);
  return element("li", { class: "service", "data-status": item.status }, body);
}

export function drawServices(items) {
  const drawn = JSON.stringify(items.map(({ milliseconds, ...rest }) => rest));
  // Left alone while nothing changes: one may be reading, or have opened a cause.
  if (drawn === servicesDrawn) return;
  servicesDrawn = drawn;
  count.textContent = items.length ? `${items.filter((item) => item.status === "ready").length} of ${items.length} ready` : "";
  const open = new Set([...services.querySelectorAll("details[open] summary")].map((summary) => summary.textContent));
  services.replaceChildren(...items.map(service));
  for (const summary of services.querySelectorAll("summary")) summary.parentElement.open = open.has(summary.textContent);
  if (!items.length) services.append(element("li", { class: "service" }, element("span", { class: "plain" }, "None are configured.")));
}

// Takes events in any order; the newest stand first.
export function addEvents(items, features) {
  for (const event of items) if (!last.some((other) => other.id === event.id)) last.push(event);
  last.sort((one, other) => Date.parse(other.created_at) - Date.parse(one.created_at) || other.sequence - one.sequence);
  last.length = Math.min(last.length, MOST);
  known = features;
  if (!drawing) drawing = requestAnimationFrame(drawEvents);
}

function drawEvents() {
  drawing = 0;
  none.hidden = last.length > 0;
  const row = (event) => {
    const feature = known.get(event.feature_execution_id);
    const link = element(
      "a",
      { href: `#feature=${encodeURIComponent(event.feature_execution_id)}` },
      feature ? repositoryName(feature.repository_url) : shortId(event.feature_execution_id),
    );
    const words = element("p", {}, eventWords(event), " ", element("small", {}, "in ", link));
    if (event.error) words.append(element("br"), element("small", {}, event.error));
    return element("li", { class: "event" }, timeElement(event.created_at, ago(event.created_at)), words);
  };
  events.replaceChildren(...last.map(row));
}

export function tick() {
  for (const time of events.querySelectorAll("time")) time.textContent = ago(time.dateTime);
}
