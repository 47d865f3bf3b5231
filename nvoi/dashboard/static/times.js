// Durations and times as people read them. All times are Unix milliseconds.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

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

// As formats.format_duration has it: "12.4 s", "2 min 05 s", "1 h 02 min".
export function formatDuration(milliseconds) {
  const spent = Math.max(0, milliseconds);
  const pad = (number) => String(number).padStart(2, "0");
  const tenths = Math.floor((spent + 50) / 100);
  if (tenths < MINUTE / 100) return `${(tenths / 10).toFixed(1)} s`;
  const seconds = Math.floor((spent + SECOND / 2) / SECOND);
  if (seconds < HOUR / SECOND) return `${Math.floor(seconds / 60)} min ${pad(seconds % 60)} s`;
  const minutes = Math.floor(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
}

// What has passed since a moment, in whole seconds.
export function formatSince(moment) {
  const seconds = Math.max(0, Math.floor((getNow() - moment) / SECOND));
  return seconds < 60 ? `${seconds} s` : formatDuration(seconds * SECOND);
}

// As formats.format_ago has it: "just now" to "30 days ago".
function formatAgo(moment) {
  const spent = getNow() - moment;
  const [unit, name] = [[DAY, "day"], [HOUR, "hour"], [MINUTE, "minute"]].find(([unit]) => spent >= unit) ?? [];
  if (!unit) return "just now";
  const count = Math.floor(spent / unit);
  return `${count} ${name}${count > 1 ? "s" : ""} ago`;
}

// The time of day, in the reader's zone.
export function formatClock(moment) {
  const date = new Date(moment);
  const part = (number, digits) => String(number).padStart(digits, "0");
  return `${part(date.getHours(), 2)}:${part(date.getMinutes(), 2)}:${part(date.getSeconds(), 2)}.${part(date.getMilliseconds(), 3)}`;
}

// Keeps times true: each second what is running (data-since) counts up, and what was
// (data-moment) is longer ago. Returns what does so at once.
export function startTicking() {
  const write = (name, format) => {
    for (const element of document.querySelectorAll(`[data-${name}]`)) {
      const text = format(Number(element.dataset[name]));
      if (element.textContent !== text) element.textContent = text;
    }
  };
  const tick = () => {
    if (document.hidden) return;
    write("since", formatSince);
    write("moment", formatAgo);
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
