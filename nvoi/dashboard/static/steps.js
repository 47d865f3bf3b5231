// A section of the log in the document: a heading that folds, and its rows.

import { ChunkedList } from "./chunks.js";
import { createElement, createPermalink } from "./rows.js";
import { cleanText } from "./text.js";
import { formatDuration, formatSince } from "./times.js";

// Characters of a step's name that may stay above its lines while these are scrolled.
const MOST_STICKING = 200;

export class StepView {
  // `createRow` makes the row of an entry, `attempt` is the attempt's number. Calls onToggle()
  // when the reader has opened or folded it.
  constructor(section, { createRow, attempt, onToggle }) {
    this.section = section;
    // Whether the heading by itself passes the filter.
    this.headPasses = false;
    this.element = createElement("section", "step");
    this.body = createElement("div", "body");
    this.list = new ChunkedList(this.body, createRow);
    this.open = true;
    if (section.head) this.element.append(this.createHeading(attempt, onToggle));
    this.element.append(this.body);
  }

  createHeading(attempt, onToggle) {
    const { head } = this.section;
    this.body.id = `step-${head.number}`;
    this.heading = createElement("h3");
    this.heading.id = `L${head.number}`;
    this.heading.classList.toggle("long", head.message.length > MOST_STICKING);
    this.button = createElement("button");
    this.button.type = "button";
    this.button.setAttribute("aria-controls", this.body.id);
    this.button.append(
      createElement("bdi", "name", cleanText(head.message)),
      (this.marks = createElement("span", "marks")),
      (this.took = createElement("span", "took")),
    );
    this.button.addEventListener("click", () => {
      this.setOpen(!this.open);
      onToggle();
    });
    this.heading.append(this.button, createPermalink(head, attempt));
    this.setOpen(true);
    return this.heading;
  }

  // Opens or folds it; what has no heading cannot be folded.
  setOpen(open) {
    this.open = open || !this.button;
    this.body.hidden = !this.open;
    this.button?.setAttribute("aria-expanded", String(this.open));
  }

  // How much of it passes the filter.
  get shown() {
    return this.list.count + (this.headPasses ? 1 : 0);
  }

  // Shows `entries`, those of the section that pass the filter; their rows `anew`.
  replace(entries, anew) {
    this.list.replace(entries, anew);
    this.element.classList.toggle("bare", this.list.count === 0);
  }

  append(entries) {
    this.list.append(entries);
    this.element.classList.toggle("bare", this.list.count === 0);
  }

  // Tells its time and state. `end` is when the next step began, null for the last step;
  // `status` is the attempt's, `skew` what the sender's clock is behind.
  describe(end, status, skew) {
    const { errors, warnings, missing, latest } = this.section;
    const key = [end, status, errors, warnings, missing, latest, skew].join();
    if (!this.section.head || key === this.described) return;
    this.described = key;
    const running = end === null && status === "running";
    this.element.classList.toggle("running", running);
    this.element.classList.toggle("failed", end === null && status === "failed");
    if (running) {
      this.took.dataset.since = this.section.began + skew;
      this.took.textContent ||= formatSince(this.section.began + skew);
    } else {
      delete this.took.dataset.since;
      this.took.textContent = formatDuration((end ?? latest) - this.section.began);
    }
    this.marks.replaceChildren();
    this.mark("error", errors, errors === 1 ? "error" : "errors");
    this.mark("warning", warnings, warnings === 1 ? "warning" : "warnings");
    this.mark("warning", missing, "missing");
  }

  mark(className, count, word) {
    if (count) this.marks.append(createElement("span", className, `${count} ${word}`), " ");
  }
}
