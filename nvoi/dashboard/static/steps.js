// A section of the log in the document: a heading that folds, and its rows.

import { ChunkedList } from "./chunks.js";
import { createElement } from "./rows.js";
import { cleanText } from "./text.js";
import { formatDuration, formatSince } from "./times.js";

export class StepView {
  constructor(section, createRow, onToggle) {
    this.section = section;
    this.element = createElement("section", "step");
    this.body = createElement("div", "body");
    this.list = new ChunkedList(this.body, createRow);
    this.open = true;
    if (section.head) this.element.append(this.createHeading(onToggle));
    this.element.append(this.body);
  }

  createHeading(onToggle) {
    const { head } = this.section;
    this.body.id = `step-${head.number}`;
    this.heading = createElement("h3");
    this.heading.id = `L${head.number}`;
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
      onToggle(this);
    });
    this.heading.append(this.button);
    this.setOpen(true);
    return this.heading;
  }

  // Opens or folds it; what has no heading cannot be folded.
  setOpen(open) {
    this.open = open || !this.button;
    this.body.hidden = !this.open;
    this.button?.setAttribute("aria-expanded", String(this.open));
  }

  // Shows `entries`, those of the section that pass the filter, if anything of it `matches`.
  replace(entries, matches) {
    this.list.replace(entries);
    this.element.hidden = !matches;
  }

  append(entries) {
    this.list.append(entries);
    if (entries.length) this.element.hidden = false;
  }

  // Tells its time and state. `end` is when the next step began, null for the last step;
  // `status` is the attempt's.
  describe(end, status) {
    const { errors, warnings, missing, latest } = this.section;
    const key = [end, status, errors, warnings, missing, latest].join();
    if (!this.section.head || key === this.described) return;
    this.described = key;
    const running = end === null && status === "running";
    this.element.classList.toggle("running", running);
    this.element.classList.toggle("failed", end === null && status === "failed");
    if (running) {
      this.took.dataset.since = this.section.began;
      this.took.textContent ||= formatSince(this.section.began);
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
