// The list of features: rows in the order of their creation, newest first, moved through with the arrow keys.

import { ENDS, STATES, ago, duration, element, isRunning, repositoryName, shortId, stateBadge, timeElement } from "./words.js";

const list = document.getElementById("list");
const empty = document.getElementById("empty");
const filters = document.getElementById("filters");
const rows = new Map();
let shown = "all";
let current = "";

const fits = (state, filter) => filter === "all" || (filter === "running" ? isRunning(state) : state === filter);

// Five parts of the way; how far it came is also said by the badge, so it is hidden from readers.
function way(feature) {
  const end = ENDS.includes(feature.state);
  // Of one that ended before the page was opened it is not known: STATES has no such state.
  const reached = feature.state === "COMPLETED" ? 5 : STATES.indexOf(end ? feature.last : feature.state);
  const part = (index) => element("i", { class: index < reached ? "passed" : index === reached ? "now" : undefined });
  return element("span", { class: "way", "aria-hidden": "true", "data-end": end ? feature.state : undefined }, ...[0, 1, 2, 3, 4].map(part));
}

function fill(row, feature) {
  const took = feature.completed_at ? ` · took ${duration(Date.parse(feature.completed_at) - Date.parse(feature.created_at))}` : "";
  const told = feature.error ?? shortId(feature.id) + took;
  const line = element("span", { title: told }, told);
  if (feature.error) line.setAttribute("data-why", "");
  row.replaceChildren(
    stateBadge(feature.state),
    element("span", { class: "what" }, element("b", { title: feature.repository_url }, repositoryName(feature.repository_url)), line),
    way(feature),
    element("span", { class: "when" }, feature.created_at ? timeElement(feature.created_at, ago(feature.created_at)) : ""),
  );
}

// Draws all features anew, keeping the rows that are there, and with them the focus.
export function draw(features, loaded) {
  const wanted = features.filter((feature) => fits(feature.state, shown));
  const kept = new Set(wanted.map((feature) => feature.id));
  for (const [id, row] of rows) {
    if (!kept.has(id)) {
      const next = row.parentElement.nextElementSibling ?? row.parentElement.previousElementSibling;
      if (row === document.activeElement) (next?.firstElementChild ?? document.getElementById("features")).focus();
      row.parentElement.remove();
      rows.delete(id);
    }
  }
  wanted.forEach((feature, index) => {
    let row = rows.get(feature.id);
    if (!row) {
      row = element("a", { class: "row", href: `#feature=${encodeURIComponent(feature.id)}` });
      rows.set(feature.id, row);
      list.insertBefore(element("li", {}, row), list.children[index] ?? null);
    } else if (list.children[index] !== row.parentElement) {
      list.insertBefore(row.parentElement, list.children[index] ?? null);
    }
    const drawn = JSON.stringify(feature);
    if (row.drawn !== drawn) fill(row, feature);
    row.drawn = drawn;
  });
  for (const button of filters.querySelectorAll("button")) {
    const count = features.filter((feature) => fits(feature.state, button.dataset.filter)).length;
    button.querySelector(".count").textContent = count;
  }
  empty.hidden = wanted.length > 0;
  empty.textContent = !loaded ? "Loading" : features.length ? "No feature is in this state." : "No features yet. Send the first one with “New feature”.";
  mark(current);
}

// Brings the ages up to date.
export function tick() {
  for (const time of list.querySelectorAll("time")) time.textContent = ago(time.dateTime);
}

// Marks the open feature; it is also the one that Tab leads to.
export function mark(id) {
  current = id;
  const entry = rows.get(id) ?? list.querySelector(".row");
  for (const [key, row] of rows) {
    row.tabIndex = row === entry ? 0 : -1;
    if (key === id) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
}

export const focusRow = (id) => (rows.get(id) ?? list.querySelector(".row") ?? document.getElementById("features")).focus();

export function start(onFilter) {
  filters.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    shown = button.dataset.filter;
    for (const other of filters.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
    onFilter();
  });
  list.addEventListener("keydown", (event) => {
    const row = event.target.closest(".row");
    const moves = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" };
    let to;
    if (moves[event.key]) to = row?.parentElement[moves[event.key]];
    else if (event.key === "Home") to = list.firstElementChild;
    else if (event.key === "End") to = list.lastElementChild;
    else return;
    event.preventDefault();
    if (!to) return;
    for (const other of rows.values()) other.tabIndex = -1;
    to.firstElementChild.tabIndex = 0;
    to.firstElementChild.focus();
  });
}
