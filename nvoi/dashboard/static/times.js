// Durations and times as people read them. All times are Unix milliseconds.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

// What the server's clock is ahead of this one's.
let ahead = 0;

// Takes the server's time, as a page has it.
export function setClock(serverNow) {
  const moment = Number(serverNow);
  if (moment > 0) ahead = moment - Date.now();
}

function getNow() {
  return Date.now() + ahead;
}

// As formats.format_duration has it: "0.4 s", "12 s", "2 min 05 s", "1 h 02 min".
export function formatDuration(milliseconds) {
  const spent = Math.max(0, milliseconds);
  const pad = (number) => String(number).padStart(2, "0");
  if (spent < 10 * SECOND) return `${(Math.floor(spent / 100) / 10).toFixed(1)} s`;
  if (spent < MINUTE) return `${Math.floor(spent / SECOND)} s`;
  if (spent < HOUR) return `${Math.floor(spent / MINUTE)} min ${pad(Math.floor((spent % MINUTE) / SECOND))} s`;
  return `${Math.floor(spent / HOUR)} h ${pad(Math.floor((spent % HOUR) / MINUTE))} min`;
}

// What has passed since a moment, in whole seconds.
export function formatSince(moment) {
  const seconds = Math.max(0, Math.floor((getNow() - moment) / SECOND));
  return seconds < 10 ? `${seconds} s` : formatDuration(seconds * SECOND);
}

// The time of day, in the reader's zone.
export function formatClock(moment) {
  const date = new Date(moment);
  const part = (number, digits) => String(number).padStart(digits, "0");
  return `${part(date.getHours(), 2)}:${part(date.getMinutes(), 2)}:${part(date.getSeconds(), 2)}.${part(date.getMilliseconds(), 3)}`;
}

// Lets what is running count up: elements with data-since, each second.
export function startTicking(root = document) {
  const tick = () => {
    if (document.hidden) return;
    for (const element of root.querySelectorAll("[data-since]")) {
      const text = formatSince(Number(element.dataset.since));
      if (element.textContent !== text) element.textContent = text;
    }
  };
  setInterval(tick, SECOND);
  document.addEventListener("visibilitychange", tick);
  return tick;
}

// Titles of times in the reader's own zone and language.
export function localise(root) {
  for (const element of root.querySelectorAll("[data-moment]")) {
    element.title = new Date(Number(element.dataset.moment)).toLocaleString();
  }
}
