// The dashboard: what is known of the features, kept up to date by events, and what the user does.

import * as api from "./api.js";
import * as detail from "./detail.js";
import * as list from "./list.js";
import * as side from "./side.js";
import { ENDS, isRunning, repositoryName, stateWord } from "./words.js";

const PAGE = 100;
// Most features that the page remembers, and most that it asks for one by one before it asks for the page of the newest.
const MOST = 500;
const ONE_BY_ONE = 20;
const features = new Map();
const waiting = new Set();
let loaded = false;
let loading;
let next;
let open = "";
let timeline;
let lead = false;
let key = crypto.getRandomValues(new Uint32Array(4)).join("-");
const by = (id) => document.getElementById(id);

const ordered = () => [...features.values()].sort((one, other) => (other.created_at ?? "").localeCompare(one.created_at ?? ""));

// Does some work before the next picture is drawn, once, however often it is asked for.
function once(work) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      work();
    });
  };
}

const draw = once(() => {
  const all = ordered();
  for (const old of all.slice(MOST)) if (!isRunning(old.state) && old.id !== open) features.delete(old.id);
  list.draw(all.slice(0, MOST), loaded);
});

function say(text) {
  by("announce").textContent = text;
}

function showProblem(error) {
  by("problem").hidden = false;
  by("problem-text").textContent = error.message;
  by("problem-action").hidden = error.status !== 401;
}

function showConnection(state) {
  const live = state === "live";
  by("live").dataset.live = live ? "live" : "away";
  // What is shown of the services is not known any more once the gateway is away.
  document.body.toggleAttribute("data-old", !live && state.code === "unreachable");
  by("live-text").textContent = live ? "Live" : "Not connected";
  if (live) by("problem").hidden = true;
  else if (state.status || state.code === "unreachable") showProblem(state);
}

function learn(feature) {
  const known = features.get(feature.id);
  // Where an ended feature got to is only told by events and steps.
  const last = isRunning(feature.state) ? feature.state : feature.last ?? known?.last;
  features.set(feature.id, { ...known, ...feature, last });
}

async function loadPage(after) {
  const page = await api.call("List", after ? { limit: PAGE, after } : { limit: PAGE });
  page.features.forEach(learn);
  if (!after || after === next) next = page.next;
  by("more").hidden = !next;
  loaded = true;
  draw();
}

function loadSoon() {
  loading ??= setTimeout(() => {
    loading = undefined;
    loadPage().catch(showProblem);
  }, 1000);
}

// Asks for one feature soon; many events of it cost one question.
function askSoon(id) {
  if (waiting.has(id)) return;
  if (waiting.size >= ONE_BY_ONE && id !== open) return loadSoon();
  waiting.add(id);
  setTimeout(async () => {
    waiting.delete(id);
    try {
      learn(await api.call("Get", { id }));
      draw();
      if (id === open) await loadTimeline();
    } catch (error) {
      if (error.status !== 404) showProblem(error);
    }
  }, 250);
}

function take(event) {
  const id = event.feature_execution_id;
  side.addEvents([event], features);
  const known = features.get(id);
  if (known && event.state && event.state !== known.state) {
    learn({ ...known, state: event.state, last: event.previous_state ?? known.last });
    draw();
    if (ENDS.includes(event.state)) say(`${repositoryName(known.repository_url)}: ${stateWord(event.state)}`);
  }
  if (!known || ENDS.includes(event.state) || id === open) askSoon(id);
}

function drawDetail() {
  const feature = features.get(open);
  if (feature) detail.draw(feature, timeline, { close, cancel });
}

// Notes how far an ended feature came: only its events tell.
function remember(id, events) {
  const moved = events.filter((event) => event.previous_state).at(-1);
  const feature = features.get(id);
  if (feature && moved && !isRunning(feature.state)) learn({ ...feature, last: moved.previous_state });
}

async function loadTimeline() {
  const id = open;
  const told = await api.call("Timeline", { id });
  if (id !== open) return;
  timeline = told;
  remember(id, told.events);
  drawDetail();
  draw();
}

async function show(id) {
  open = id;
  timeline = undefined;
  list.mark(id);
  if (!id) return detail.hide();
  try {
    if (!features.has(id)) learn(await api.call("Get", { id }));
    drawDetail();
    if (lead) detail.focus();
    lead = false;
    await loadTimeline();
  } catch (error) {
    showProblem(error);
  }
}

function close() {
  const id = open;
  history.replaceState(null, "", location.pathname);
  show("");
  list.focusRow(id);
}

async function cancel(button) {
  button.disabled = true;
  try {
    await api.call("Cancel", { id: open });
    say("Cancelled.");
    askSoon(open);
  } catch (error) {
    showProblem(error);
    button.disabled = false;
  }
}

function follow() {
  // The skip link's own place is no other feature.
  if (location.hash === "#features") return;
  const id = new URLSearchParams(location.hash.slice(1)).get("feature") ?? "";
  if (id !== open) show(id);
}

async function create(event) {
  event.preventDefault();
  const form = event.target;
  const wrong = by("create-problem");
  const submit = form.querySelector("[type=submit]");
  const request = { repository_url: form.repository.value.trim(), instruction: form.instruction.value.trim(), idempotency_key: key };
  wrong.hidden = true;
  const missing = [form.repository, form.instruction].find((field) => !field.value.trim());
  if (missing) {
    wrong.textContent = missing === form.repository ? "Name the repository." : "Say what is to be made.";
    wrong.hidden = false;
    return missing.focus();
  }
  submit.disabled = true;
  try {
    const { id } = await api.call("Create", request);
    // A key belongs to one feature; a repeat before this point makes none twice.
    key = crypto.getRandomValues(new Uint32Array(4)).join("-");
    form.reset();
    by("create").close();
    location.hash = `feature=${encodeURIComponent(id)}`;
    say("Sent.");
  } catch (error) {
    wrong.textContent = error.message;
    wrong.hidden = false;
  } finally {
    submit.disabled = false;
  }
}

async function askServices() {
  if (document.hidden) return;
  try {
    side.drawServices(await api.services());
  } catch (error) {
    if (error.status) showProblem(error);
  }
}

async function load() {
  await loadPage();
  // What happened before the page was opened: the newest features' own events.
  const eventsOf = async ({ id }) => {
    const { events } = await api.call("Timeline", { id }).catch(() => ({ events: [] }));
    remember(id, events);
    return events;
  };
  side.addEvents((await Promise.all(ordered().slice(0, 10).map(eventsOf))).flat(), features);
  draw();
}

function listen() {
  list.start(draw);
  addEventListener("hashchange", follow);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && open && !document.querySelector("dialog[open]")) close();
  });
  by("list").addEventListener("click", (event) => {
    // Who opens one is led into it, as the panel is elsewhere on the page; so is who opens the open one again.
    const row = event.target.closest(".row");
    if (!row) return;
    lead = true;
    if (row.getAttribute("aria-current")) show(open);
  });
  by("new").addEventListener("click", () => by("create").showModal());
  by("problem-action").addEventListener("click", () => by("signin").showModal());
  by("more").addEventListener("click", () => loadPage(next).catch(showProblem));
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
  by("create").querySelector("form").addEventListener("submit", create);
  by("signin").querySelector("form").addEventListener("submit", (event) => {
    api.useToken(event.target.token.value.trim());
    event.target.reset();
    // The page starts anew with the token: every connection must carry it.
    location.reload();
  });
  document.addEventListener("visibilitychange", askServices);
}

listen();
follow();
askServices();
setInterval(askServices, 5000);
setInterval(() => {
  if (document.hidden) return;
  list.tick();
  side.tick();
  if (open && isRunning(features.get(open)?.state ?? "FAILED") && !detail.contains(document.activeElement)) drawDetail();
}, 1000);
draw();
api.watch(take, (state) => {
  showConnection(state);
  // Asked only once the stream stands, so that nothing falls between the two.
  if (state === "live") load().catch(showProblem);
});
