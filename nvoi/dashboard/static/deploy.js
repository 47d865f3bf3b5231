// The page of one deploy: its head, and its log.

import { Announcer } from "./announcer.js";
import { cleanText } from "./ansi.js";
import { ConnectionNote } from "./connection.js";
import { copyText } from "./copying.js";
import { AutoScroll } from "./autoscroll.js";
import { listenToKeys } from "./keys.js";
import { findIndex } from "./layout.js";
import { Log } from "./log.js";
import { Search } from "./search.js";
import { addSwitch } from "./settings.js";
import { Source } from "./source.js";
import { Summary } from "./summary.js";
import { startTicking } from "./times.js";
import { LogView } from "./view.js";

const get = (id) => document.getElementById(id);
const section = document.querySelector("section.log");
const number = Number(section.dataset.attempt);
const summary = new Summary(get("summary"), number);
const announcer = new Announcer(get("announcer"));
const connection = new ConnectionNote(get("connection"));
const autoscroll = new AutoScroll(get("log"), get("follow"));
const tick = startTicking();

const log = new Log(cleanText);
const source = new Source(section.dataset.api, number, log, {
  onOutline: takeOutline,
  onPage: () => {
    view.refresh();
    checkReady();
  },
  onLines: receive,
  onAttempt: takeAttempt,
  onState: (state) => connection.show(state),
});
const view = new LogView(get("lines"), log, {
  attempt: number,
  onChange: describe,
  onToggle: () => autoscroll.stop(),
  onNeed: (positions) => source.need(positions),
});
const search = new Search(source, { onChange: applySearch });

let status = summary.status;
// Lines that came since the last frame, how many sections were shown in it, and the number of
// the line that the address names and that is not here yet.
let waiting = [];
let drawn = 0;
let wanted = null;
let isShown = false;
// Whether the page is as its address and the reader's last visit have it.
let isOpened = false;

get("loading").hidden = false;
source.start().then(show);

// -- from the server ----------------------------------------------------------------------------

async function takeOutline(outline) {
  if (!isShown) return log.reset(outline);
  // Lines came between others. What is seen is fetched first, so that it does not go away.
  const place = view.notePlace();
  const marked = view.target === null ? null : log.findNumber(view.target);
  const target = marked && (await source.askPosition(marked));
  const position = place && (await source.askPosition(place.number));
  const around = position && (await source.readAround(position));
  log.reset(outline);
  if (around) log.keep(around.first, around.lines);
  view.target = target;
  view.layout.passing = null;
  redraw();
  if (position) view.place(position, place.top);
  if (search.state.query || search.filters) search.set({});
}

// Shows the log for the first time.
async function show() {
  isShown = true;
  view.describe(status);
  autoscroll.offer(status === "running");
  if (status !== "completed") openSection(log.lastStep);
  redraw();
  get("tools").hidden = false;
  get("loading").hidden = true;
  measureBar();
  listen();
  // A reload, or the way back from another page, finds the search as it was.
  if (history.state?.search) await search.set(history.state.search);
  if (location.hash) await readHash();
  else if (status !== "running" && status !== "completed") openAtFirstError();
  isOpened = true;
  checkReady();
}

function checkReady() {
  if (!isOpened || source.fetching.size || source.wanted.length) return;
  document.documentElement.dataset.ready = "";
}

function openAtFirstError() {
  const position = log.errors[0];
  if (position && view.lets(position)) view.reveal(position);
}

function openSection(step) {
  if (step) step.open = true;
}

function redraw(from = 0) {
  view.redraw(from);
  drawn = log.sections.length;
}

function receive(batch) {
  if (waiting.length === 0) requestAnimationFrame(flush);
  waiting.push(...batch);
}

function flush() {
  const fresh = waiting.splice(0);
  if (fresh.length === 0) return;
  search.add(fresh, log.total);
  // The last section may have become a part of the one before.
  const from = Math.max(0, drawn - 3);
  for (const each of log.sections.slice(Math.max(from, drawn - 1))) if (status === "running") each.open = true;
  redraw(from);
  if (autoscroll.on) autoscroll.scroll();
  announcer.sayLines(fresh);
  if (wanted !== null && wanted <= log.total) readHash();
}

function takeAttempt(attempt) {
  const ended = status === "running" && attempt.status !== "running";
  status = attempt.status;
  summary.update(attempt).then(tick);
  if (ended) announcer.say(`The deploy is over: ${status}`);
  const missing = log.missing;
  const told = attempt.gaps.reduce((sum, gap) => sum + gap.last - gap.first + 1, 0);
  if (missing !== told) return source.startAgain();
  view.describe(status, log.estimateSkew(attempt));
  // What came with the end is still seen; then there is nothing more to follow.
  if (ended && autoscroll.on) requestAnimationFrame(() => autoscroll.scroll());
  if (status === "running") autoscroll.offer(true);
  else setTimeout(() => autoscroll.offer(status === "running"), 1000);
}

// -- what the head and the tools say ------------------------------------------------------------

function describe() {
  if (!isShown) return;
  get("count").textContent = describeCount();
  get("nothing").hidden = log.total > 0 && !(search.passing && search.passing.length === 0);
  get("nothing").textContent = log.total > 0 ? "No line passes the filter." : "No line has been received yet.";
  get("fold").hidden = log.stepCount < 2;
  get("fold").textContent = view.allFolded ? "Open all" : "Fold all";
  get("first-error").hidden = log.errors.length === 0;
  describeCurrent();
  describeCounts();
}

function describeCurrent() {
  const last = log.lastStep;
  const isOver = status === "completed" || !last;
  get("current").hidden = isOver;
  if (isOver) return;
  get("current").lastElementChild.textContent = last.head.name;
  get("current").title = status === "running" ? `The step that runs: ${last.head.name}` : `The last step: ${last.head.name}`;
}

function describeCounts() {
  const sum = (name) => log.sections.reduce((total, each) => total + each[name], 0);
  get("warnings").textContent = sum("warnings") ? sum("warnings").toLocaleString() : "";
  get("errors").textContent = sum("errors") ? sum("errors").toLocaleString() : "";
}

function describeCount() {
  const all = `${log.total.toLocaleString()} ${log.total === 1 ? "line" : "lines"}`;
  if (search.passing) return `${search.passing.length.toLocaleString()}${search.more ? "+" : ""} of ${all}`;
  return log.missing ? `${all}, ${log.missing.toLocaleString()} missing` : all;
}

// Headings of steps stay beneath the head, however high it is.
function measureBar() {
  const bar = get("bar");
  const note = () => {
    const { height } = bar.getBoundingClientRect();
    view.viewport.cover = height;
    get("lines").style.setProperty("--bar", `${height}px`);
    document.documentElement.style.scrollPaddingTop = `${height + 40}px`;
  };
  new ResizeObserver(note).observe(bar);
  note();
  // Once the title has gone, the bar says it.
  const stick = () => bar.classList.toggle("stuck", section.getBoundingClientRect().top < 0);
  document.addEventListener("scroll", stick, { passive: true });
  stick();
}

// -- what the reader does -----------------------------------------------------------------------

function listen() {
  const input = get("search");
  let timer = null;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => setSearch({ query: input.value.trim().toLowerCase() }), 150);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") goToMatch(event.shiftKey ? -1 : 1);
  });
  get("previous").addEventListener("click", () => goToMatch(-1));
  get("next").addEventListener("click", () => goToMatch(1));
  get("only").addEventListener("click", () => setSearch({ only: !search.state.only }));
  section.querySelector(".levels").addEventListener("change", (event) => setSearch({ level: event.target.value }));
  get("lines").addEventListener("click", followPermalink);
  get("fold").addEventListener("click", foldAll);
  get("copy").addEventListener("click", copy);
  get("first-error").addEventListener("click", () => goTo(log.errors[0]));
  get("current").addEventListener("click", () => goTo(log.lastStep.head.position));
  get("help").addEventListener("click", () => get("keys").showModal());
  window.addEventListener("popstate", readHash);
  const wrap = addSwitch(get("wrap"), "wrap", "on", (on) => switchClass("unwrapped", !on));
  const times = addSwitch(get("times"), "times", "off", (on) => switchClass("timed", on));
  const goOn = (direction) => (search.state.query ? goToMatch(direction) : goToError(direction));
  listenToKeys(get("keys"), {
    "/": () => input.select(),
    "?": () => get("keys").showModal(),
    j: () => goToLine(1),
    k: () => goToLine(-1),
    n: () => goOn(1),
    N: () => goOn(-1),
    f: () => autoscroll.toggle(),
    o: foldAll,
    w: wrap,
    t: times,
    Escape: () => {
      clearSearch();
      document.activeElement.blur();
    },
  });
}

function switchClass(name, on) {
  view.viewport.change(() => get("log").classList.toggle(name, on));
}

function foldAll() {
  autoscroll.hold();
  view.foldAll(!view.allFolded);
}

// Copies what the filter lets through, as it is downloaded.
async function copy() {
  const { query, level } = search.state;
  const asked = new URLSearchParams({ attempt: number, level, text: search.filters && search.state.only ? query : "" });
  const answer = await fetch(`${section.dataset.api}/log.txt?${asked}`);
  const done = answer.ok && (await copyText(await answer.text(), get("copy")));
  announcer.say(done ? "Copied" : "The browser did not let the log be copied");
}

// -- search -------------------------------------------------------------------------------------

async function setSearch(state) {
  const { query } = search.state;
  await search.set(state);
  history.replaceState({ search: search.state }, "");
  if (search.state.query && search.state.query !== query) goToMatch(1, { stay: true });
  announcer.say(search.state.query ? describeMatches() : describeCount());
}

function clearSearch() {
  if (search.state.query || search.filters) return setSearch({ query: "", level: "debug", only: false });
}

function applySearch() {
  const { query, level, only } = search.state;
  if (get("search").value.trim().toLowerCase() !== query) get("search").value = query;
  section.querySelector(`.levels [value=${level}]`).checked = true;
  get("only").setAttribute("aria-pressed", String(only));
  for (const id of ["matches", "previous", "next", "only"]) get(id).hidden = query === "";
  get("matches").textContent = describeMatches();
  if (search.busy) return;
  view.query = query;
  if (view.layout.passing !== search.passing) view.filter(search.passing);
  view.refresh();
  describe();
}

function describeMatches() {
  if (search.busy) return "…";
  const count = `${search.matches.length.toLocaleString()}${search.more ? "+" : ""}`;
  const at = search.matches.indexOf(view.target);
  return at < 0 ? `${count} found` : `${(at + 1).toLocaleString()} of ${count}`;
}

// Goes on to the next of sorted positions, past the last one to the first; with `stay` to the
// first that is seen or follows.
function goAmong(positions, direction, { stay = false } = {}) {
  if (positions.length === 0) return;
  const from = view.target ?? (view.firstSeen ?? 1) - direction;
  const at = direction > 0 ? findIndex(positions, stay ? from : from + 1) : findIndex(positions, from) - 1;
  goTo(positions.at(at === positions.length ? 0 : at));
}

function goToMatch(direction, options) {
  goAmong(search.matches, direction, options);
  get("matches").textContent = describeMatches();
}

function goToError(direction) {
  goAmong(log.errors.filter((position) => view.lets(position)), direction);
}

// -- the way to a line --------------------------------------------------------------------------

// Marks a line and names it in the address.
function goTo(position) {
  autoscroll.hold();
  if (!view.lets(position)) clearSearch();
  view.reveal(position, { lazily: true });
  const line = log.get(position);
  const known = log.findNumber(position);
  if (known) history.replaceState(history.state, "", `?attempt=${number}#L${known}`);
  if (line?.level === "error") announcer.say(`Error: ${cleanText(line.message)}`);
}

function goToLine(direction) {
  const from = view.target ?? view.firstSeen;
  const next = from === null ? null : view.target === null ? from : view.step(from, direction);
  if (next === null) return;
  goTo(next);
  view.findRow(next)?.querySelector("a")?.focus({ preventScroll: true });
}

// Marks the line whose number was clicked, where it is, and names it in the address.
function followPermalink(event) {
  const link = event.target.closest("a.number, a.anchor");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState(history.state, "", link.href);
  autoscroll.hold();
  view.reveal(Number(link.dataset.step ?? link.closest("[data-position]").dataset.position), { lazily: true });
}

// Shows the line that the address names, as soon as it is there.
async function readHash() {
  const match = /^#L(\d{1,15})$/.exec(location.hash);
  wanted = match ? Number(match[1]) : null;
  if (wanted === null) return view.unmark();
  autoscroll.hold();
  const position = await source.findPosition(wanted).catch(() => null);
  if (!position) return;
  if (!view.lets(position)) await clearSearch();
  view.reveal(position, { lazily: document.documentElement.dataset.ready !== undefined });
  wanted = null;
}
