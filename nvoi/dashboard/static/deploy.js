// The page of one deploy: what the server rendered of its log is replaced by the live one.

import { Announcer } from "./announcer.js";
import { ConnectionNote } from "./connection.js";
import { copyText, formatEntry } from "./copying.js";
import { Following } from "./following.js";
import { listenToKeys } from "./keys.js";
import { Lines, compare } from "./lines.js";
import { LogView } from "./logview.js";
import { Source } from "./source.js";
import { Summary } from "./summary.js";
import { startTicking } from "./times.js";

const get = (id) => document.getElementById(id);
const section = document.querySelector("section.log");
const number = Number(section.dataset.attempt);
const element = document.createElement("div");

const lines = new Lines();
const view = new LogView(element, lines, {
  attempt: number,
  onChange: describe,
  onToggle: () => following.stop(),
});
const summary = new Summary(get("summary"), number);
const announcer = new Announcer(get("announcer"));
const connection = new ConnectionNote(get("connection"));
const tick = startTicking();
let following = null;
let status = summary.status;
// Lines that came since the last frame, and the line that the address names.
let waiting = [];
let wanted = null;

const source = new Source(section.dataset.api, number, lines, {
  onLines: (batch) => (following ? receive(batch) : lines.add(batch)),
  onAttempt: takeAttempt,
  onState: (state) => connection.show(state),
});

get("loading").hidden = get("log").querySelector(".line") !== null;
source.start().then(show);

// Puts the live log in the place of the one that the server rendered.
function show() {
  get("loading").hidden = true;
  const log = get("log");
  const nothing = document.createElement("p");
  nothing.id = "nothing";
  nothing.className = "empty";
  log.replaceChildren(element, nothing);
  view.redraw();
  following = new Following(log, get("follow"));
  get("tools").hidden = false;
  measureTools();
  listen();
  view.describe(status);
  following.offer(status === "running");
  if (status !== "running") view.openLast();
  // A reload, or the way back from another page, finds the filter as it was.
  if (history.state?.filter) setFilter(history.state.filter);
  readHash();
  if (wanted === null && location.hash === "") openAtItsPlace();
  document.documentElement.dataset.ready = "";
}

function openAtItsPlace() {
  if (status === "running") following.start();
  else if (status === "failed") revealFirstError();
}

// The first error of the step that failed, which is the last one.
function revealFirstError() {
  const last = lines.sections.at(-1);
  const error = last.entries.find((entry) => entry.level === "error") ?? last.entries.findLast((entry) => entry.number);
  if (error && view.lets(error)) view.reveal(error, { lazily: true });
}

function receive(batch) {
  if (waiting.length === 0) requestAnimationFrame(flush);
  waiting.push(...batch);
}

function flush() {
  const { fresh, shuffled } = lines.add(waiting.splice(0));
  if (fresh.length === 0) return;
  if (shuffled) inPlace(() => view.redraw());
  else view.append(fresh);
  announcer.sayLines(fresh);
  if (wanted !== null && lines.byNumber.has(wanted)) readHash();
}

// Changes the log while the lines that are read stay where they are.
function inPlace(change) {
  const seen = following.on ? [] : view.listSeen();
  change();
  view.keepPlace(seen);
}

function takeAttempt(attempt) {
  const gaps = lines.setGaps(attempt.gaps);
  const ended = status === "running" && attempt.status !== "running";
  status = attempt.status;
  summary.update(attempt).then(tick);
  if (!following) return;
  if (gaps) inPlace(() => view.redraw());
  view.describe(status, lines.estimateSkew(attempt));
  // What came with the end is still seen; then there is nothing more to follow.
  if (ended) announcer.say(`The deploy is over: ${status}`);
  if (ended && following.on) requestAnimationFrame(() => following.scroll());
  if (status === "running") following.offer(true);
  else setTimeout(() => following.offer(status === "running"), 1000);
}

// What the tools say of the log.
function describe() {
  get("warnings").textContent = lines.counts.warning || "";
  get("errors").textContent = lines.counts.error || "";
  get("count").textContent = describeCount();
  const count = lines.ordered.length;
  const fold = get("fold");
  fold.hidden = view.foldable.length < 2;
  fold.textContent = view.allFolded ? "Open all" : "Fold all";
  fold.ariaLabel = view.allFolded ? "Open all steps" : "Fold all steps";
  get("nothing").hidden = count > 0 && !(view.filtering && view.shown === 0);
  get("nothing").textContent = count > 0 ? "No line passes the filter." : "No line has been received yet.";
}

function describeCount() {
  const count = lines.ordered.length;
  const all = `${count.toLocaleString()} ${count === 1 ? "line" : "lines"}`;
  if (view.filtering) return `${view.shown.toLocaleString()} of ${all}`;
  const missing = lines.gaps.reduce((sum, gap) => sum + gap.last - gap.first + 1, 0);
  return missing ? `${all}, ${missing.toLocaleString()} missing` : all;
}

// Headings of steps stay beneath the tools, however high these are.
function measureTools() {
  const tools = get("tools");
  const note = () => {
    const fixed = getComputedStyle(tools).position === "sticky" ? tools.offsetHeight : 0;
    element.style.setProperty("--tools", `${fixed}px`);
    document.documentElement.style.scrollPaddingTop = `${fixed + 32}px`;
  };
  new ResizeObserver(note).observe(tools);
  note();
}

function listen() {
  const filter = get("filter");
  let timer = null;
  filter.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => setFilter({ query: filter.value.trim().toLowerCase() }), 120);
  });
  section.querySelector(".levels").addEventListener("change", (event) => setFilter({ level: event.target.value }));
  get("log").addEventListener("click", followPermalink);
  get("fold").addEventListener("click", foldAll);
  get("copy").addEventListener("click", copy);
  window.addEventListener("popstate", readHash);
  listenToKeys(get("keys"), {
    "/": () => filter.focus(),
    j: () => goToLine(1),
    k: () => goToLine(-1),
    n: () => goToLine(1, isError),
    p: () => goToLine(-1, isError),
    f: () => following.start(),
    o: foldAll,
    Escape: () => {
      clearFilter();
      document.activeElement.blur();
    },
  });
}

function foldAll() {
  view.foldAll(!view.allFolded);
}

function setFilter(filter) {
  inPlace(() => view.setFilter(filter));
  const { query, level } = view.filter;
  if (get("filter").value.trim().toLowerCase() !== query) get("filter").value = query;
  section.querySelector(`.levels [value=${level}]`).checked = true;
  history.replaceState({ filter: view.filter }, "");
  announcer.say(describeCount());
}

function clearFilter() {
  setFilter({ query: "", level: "debug" });
}

// Copies what the filter lets through.
async function copy() {
  const entries = lines.sections.flatMap(({ head, entries }) => (head ? [head, ...entries] : entries));
  const passing = entries.filter((entry) => view.passes(entry));
  const done = await copyText(passing.map((entry) => `${formatEntry(entry)}\n`).join(""), get("copy"));
  announcer.say(done ? "Copied" : "The browser did not let the log be copied");
}

// Marks the line whose number was clicked, where it is, and names it in the address.
function followPermalink(event) {
  const link = event.target.closest("a.number");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState(history.state, "", link.href);
  following.hold();
  view.reveal(lines.byNumber.get(Number(link.textContent)), { lazily: true });
}

// Shows the line that the address names, as soon as it is there.
function readHash() {
  const match = /^#L(\d{1,15})$/.exec(location.hash);
  wanted = match ? Number(match[1]) : null;
  if (wanted === null) return view.unmark();
  following.hold();
  const line = lines.byNumber.get(wanted);
  if (!line) return;
  if (!view.lets(line)) clearFilter();
  view.reveal(line);
  wanted = null;
}

function isError(line) {
  return line.level === "error";
}

// Goes on to the next line (the one before where `direction` is -1) that `isWanted`, from the
// one that is marked, or else from those that are seen; past the last one to the first.
function goToLine(direction, isWanted = () => true) {
  const candidates = lines.ordered.filter((line) => isWanted(line) && view.lets(line));
  if (candidates.length === 0) return;
  if (direction < 0) candidates.reverse();
  const from = view.target;
  const first = isWanted === isError ? candidates[0] : (view.listSeen()[0]?.line ?? candidates[0]);
  const line = from ? (candidates.find((each) => compare(each, from) * direction > 0) ?? candidates[0]) : first;
  following.hold();
  view.reveal(line, { lazily: true });
  document.querySelector(`#L${line.number} .number`)?.focus({ preventScroll: true });
  if (isError(line)) announcer.say(`Error: ${line.message}`);
  history.replaceState(history.state, "", `?attempt=${number}#L${line.number}`);
}
