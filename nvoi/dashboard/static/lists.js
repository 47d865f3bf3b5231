// Lists of deploys: the part of the page that changes is fetched again every few seconds while
// somebody looks at it.

import { ConnectionNote } from "./connection.js";
import { offerCopies } from "./copying.js";
import { localise, setClock, startTicking } from "./times.js";
import { showState } from "./summary.js";

const PERIOD = 2000;
const MOST_PERIOD = 15000;
const PATIENCE = 15000;

const connection = new ConnectionNote(document.getElementById("connection"));
const tick = startTicking();
let part = document.querySelector("[data-refresh]");
let seen = readContent(part);
let period = PERIOD;
let timer = null;

take(part);
plan();
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});

function plan() {
  clearTimeout(timer);
  timer = setTimeout(refresh, document.hidden ? MOST_PERIOD : period);
}

async function refresh() {
  clearTimeout(timer);
  try {
    const began = performance.now();
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(PATIENCE) });
    if (answer.redirected || [401, 403, 404].includes(answer.status)) return connection.show("gone");
    if (!answer.ok) throw new Error(`answered with ${answer.status}`);
    replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    connection.show("live");
    // A page that takes long to make is asked for less often.
    period = Math.min(MOST_PERIOD, Math.max(PERIOD, 20 * (performance.now() - began)));
  } catch {
    connection.show("reconnecting");
    period = Math.min(MOST_PERIOD, period * 2);
  }
  plan();
}

function replace(page) {
  const fresh = page.querySelector("[data-refresh]");
  showState(page.title, page.querySelector("link[rel=icon]").getAttribute("href"));
  const content = readContent(fresh);
  if (isInUse(part) || content === seen) return take(part, fresh.dataset.now);
  seen = content;
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  part.replaceWith(document.adoptNode(fresh));
  part = fresh;
  take(part);
  if (focused) [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
}

// What a list has but for its times, which are kept true here.
function readContent(element) {
  const copy = element.cloneNode(true);
  for (const button of copy.querySelectorAll("[data-copy]")) button.hidden = true;
  for (const time of copy.querySelectorAll("[data-since], [data-moment]")) {
    time.textContent = "";
    time.title = "";
  }
  return copy.innerHTML;
}

// Somebody is about to copy something, or is in the middle of a click.
function isInUse(element) {
  const selection = getSelection();
  return element.querySelector(":active") || (!selection.isCollapsed && selection.containsNode(element, true));
}

function take(element, now = element.dataset.now) {
  setClock(now);
  localise(element);
  offerCopies(element);
  tick();
}
