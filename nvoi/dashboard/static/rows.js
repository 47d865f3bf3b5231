// The elements of the log: headings of steps, rows of lines, and what stands for lines that never
// came or are not here yet.

import { appendMessage } from "./text.js";
import { formatClock, formatDuration, formatSince } from "./times.js";

// How a level is told beside its colour; `info` and `debug` need no sign.
const SIGNS = { ok: "✓", success: "✓", warning: "!", error: "✗" };
// Characters from which on a message may fill rows.
const LONG = 100;
const STATES = { done: "✓", failed: "✗", cancelled: "⊘", lost: "?", running: "" };

export function createElement(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function createRow(line, position, query, attempt) {
  const row = createElement("div", `line ${line.level}`);
  row.id = `L${line.number}`;
  row.dataset.position = position;
  const link = createElement("a", "number", String(line.number));
  link.href = `?attempt=${attempt}#L${line.number}`;
  link.ariaLabel = `Line ${line.number}`;
  // Keys lead from line to line; thousands of stops would keep the tabulator from what follows.
  link.tabIndex = -1;
  const time = createElement("time", "", formatClock(line.logged_at));
  time.title = new Date(line.logged_at).toLocaleString();
  const sign = createElement("span", "sign", SIGNS[line.level] ?? "");
  if (SIGNS[line.level]) {
    sign.role = "img";
    sign.ariaLabel = line.level;
  }
  // Long JSON has no words: a break after each of its hyphens would leave its rows half empty.
  const isDense = line.message.length > LONG && /^[[{]/.test(line.message);
  const message = createElement("bdi", isDense ? "message dense" : "message");
  appendMessage(message, line.message, query);
  row.append(link, time, sign, message);
  return row;
}

// A row whose line is not here yet.
export function createPending(position) {
  const row = createElement("div", "line pending");
  row.dataset.position = position;
  row.append(createElement("span", "number"), createElement("time"), createElement("span", "sign"), createElement("span", "message", " "));
  return row;
}

export function createGap(gap) {
  const text =
    gap.first === gap.last
      ? `Line ${gap.first} of the sender was never received`
      : `Lines ${gap.first} to ${gap.last} of the sender were never received`;
  return createElement("p", "gap", text);
}

// The heading of a section. Calls onToggle() when the reader folds or opens it.
export class Heading {
  constructor(section, attempt, onToggle) {
    this.section = section;
    this.element = createElement("h3", "step");
    const { head } = section;
    this.button = createElement("button");
    this.button.type = "button";
    this.state = createElement("span", "state");
    this.name = createElement("bdi", "name", head ? head.name : "Result");
    this.name.title = this.name.textContent;
    this.marks = createElement("span", "marks");
    this.count = createElement("span", "count");
    this.share = createElement("span", "share");
    this.bar = this.share.appendChild(createElement("i"));
    this.took = createElement("span", "took");
    this.button.append(createElement("span", "fold"), this.state, this.name, this.marks, this.count, this.share, this.took);
    this.button.addEventListener("click", onToggle);
    this.element.append(this.button);
    if (!head) this.element.classList.add("closing");
    else this.element.append(this.createLink(head, attempt));
  }

  createLink(head, attempt) {
    // Where the name was cut, the row that has all of it is what the number leads to.
    if (this.section.first > head.position) {
      this.element.id = `L${head.number}`;
      this.element.dataset.position = head.position;
    }
    const link = createElement("a", "anchor", "#");
    link.href = `?attempt=${attempt}#L${head.number}`;
    link.dataset.step = head.position;
    link.ariaLabel = `Link to the step ${head.name}`;
    link.tabIndex = -1;
    return link;
  }

  // Tells how the section is. `state` is that of its step; `end` is when it ended, null while it
  // goes on; `whole` is how long all steps took, `skew` what the sender's clock is behind.
  describe({ state, end, latest, whole, skew }) {
    const { section } = this;
    this.button.setAttribute("aria-expanded", String(section.open));
    this.describeCounts();
    if (!section.head) return;
    for (const each of Object.keys(STATES)) this.element.classList.toggle(each, each === state);
    this.state.textContent = STATES[state];
    this.state.role = "img";
    this.state.ariaLabel = state;
    if (state === "running") {
      this.took.dataset.since = section.head.began + skew;
      this.took.textContent ||= formatSince(section.head.began + skew);
      return;
    }
    delete this.took.dataset.since;
    const spent = Math.max(0, (end ?? latest) - section.head.began);
    this.took.textContent = formatDuration(spent);
    this.share.title = `${Math.round((100 * spent) / Math.max(1, whole))} % of the time`;
    this.bar.style.width = `${Math.min(100, (100 * spent) / Math.max(1, whole))}%`;
  }

  describeCounts() {
    const { errors, warnings, missing, size, closing } = this.section;
    const count = (number, word) => `${number.toLocaleString()} ${word}${number === 1 ? "" : "s"}`;
    const marks = [];
    if (errors) marks.push(createElement("span", "error", count(errors, "error")));
    if (warnings) marks.push(createElement("span", "warning", count(warnings, "warning")));
    if (missing) marks.push(createElement("span", "warning", `${missing.toLocaleString()} missing`));
    this.marks.replaceChildren(...marks);
    this.count.textContent = size > 0 && !closing ? count(size, "line") : "";
  }
}
