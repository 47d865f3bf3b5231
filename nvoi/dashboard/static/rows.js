// The elements of the log's rows.

import { appendText, cleanText } from "./text.js";
import { formatClock } from "./times.js";

export function createElement(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// A row for a line or a gap; what `query` finds in it is marked.
export function createRow(entry, query, attempt) {
  return entry.number === undefined ? createGap(entry) : createLine(entry, query, attempt);
}

// The number of a line, which is a link to it for good: whatever attempt is the newest then.
export function createPermalink(line, attempt) {
  const link = createElement("a", "number", String(line.number));
  link.href = `?attempt=${attempt}#L${line.number}`;
  link.ariaLabel = `Line ${line.number}`;
  // Keys lead from line to line; thousands of stops would keep the tabulator from what follows.
  link.tabIndex = -1;
  return link;
}

function createLine(line, query, attempt) {
  const row = createElement("div", `line ${line.level}`);
  row.id = `L${line.number}`;
  const time = createElement("time", "", formatClock(line.logged_at));
  time.title = new Date(line.logged_at).toLocaleString();
  const message = createElement("bdi", "message");
  appendText(message, cleanText(line.message), query);
  row.append(createPermalink(line, attempt), time, createElement("span", "level", line.level), message);
  return row;
}

function createGap(gap) {
  const text =
    gap.first === gap.last
      ? `Line ${gap.first} of the sender was never received`
      : `Lines ${gap.first} to ${gap.last} of the sender were never received`;
  return createElement("p", "gap", text);
}
