// Lists of deploys: the part of the page that changes is fetched again every few seconds while
// somebody looks at it.

import { ConnectionNote } from "./connection.js";
import { localise, setClock, startTicking } from "./times.js";
import { showState } from "./summary.js";

const PERIOD = 2000;
const MOST_PERIOD = 15000;
const PATIENCE = 15000;

const connection = new ConnectionNote(document.getElementById("connection"));
const tick = startTicking();
let part = document.querySelector("[data-refresh]");
let seen = part.innerHTML;
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
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(PATIENCE) });
    if (answer.redirected || [401, 403, 404].includes(answer.status)) return connection.show("gone");
    if (!answer.ok) throw new Error(`answered with ${answer.status}`);
    replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    connection.show("live");
    period = PERIOD;
  } catch {
    connection.show("reconnecting");
    period = Math.min(MOST_PERIOD, period * 2);
  }
  plan();
}

function replace(page) {
  const fresh = page.querySelector("[data-refresh]");
  showState(page.title, page.querySelector("link[rel=icon]").getAttribute("href"));
  const html = fresh.innerHTML;
  if (isSelected(part) || html === seen) return take(part, fresh.dataset.now);
  seen = html;
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  part.replaceWith(document.adoptNode(fresh));
  part = fresh;
  take(part);
  if (focused) [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
}

// Somebody is about to copy something.
function isSelected(element) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(element, true);
}

function take(element, now = element.dataset.now) {
  setClock(now);
  localise(element);
  tick();
}
