// The log in the document: what is folded, what is marked, and the way to a line.

import { findIndex, Layout } from "./layout.js";
import { createElement, createGap, createPending, createRow, Heading } from "./rows.js";
import { Viewport } from "./viewport.js";

// Frames that a line which was scrolled to rests before it is left alone: rows that come into
// view, and its own, may still move it.
const SETTLING_FRAMES = 4;
// More open rows than this make a page too high for browsers: the sections that were opened
// first fold again.
const MOST_OPEN = 1_500_000;

export class LogView {
  // Shows `log`, of the attempt with the number `attempt`, in `element`. Calls onChange() when
  // what is shown has changed, onToggle() when the reader has folded or opened a section, and
  // onNeed(first, last) for the positions of lines that are seen and not here.
  constructor(element, log, { attempt, onChange, onToggle, onNeed }) {
    Object.assign(this, { element, log, attempt, onChange, onToggle, onNeed });
    this.layout = new Layout(log);
    this.viewport = new Viewport(element, this.layout, {
      fill: (unit) => this.fill(unit),
      onShow: (first, last) => this.need(first, last),
    });
    this.query = "";
    this.status = "running";
    this.skew = 0;
    // The position that is marked, and the one that is being scrolled to.
    this.target = null;
    this.settling = null;
    for (const kind of ["wheel", "touchstart", "pointerdown", "keydown"]) {
      document.addEventListener(kind, () => (this.settling = null), { passive: true });
    }
  }

  // -- what is shown ------------------------------------------------------------------------

  // Shows what the log has now; sections before `from` are as they were.
  redraw(from = 0) {
    this.viewport.change(() => this.layout.rebuild(from));
    this.describe();
  }

  // Shows other rows of what is there: those that came, or the marks of another query.
  refresh() {
    for (const unit of this.viewport.shown) unit.stale = true;
    this.viewport.update();
  }

  // Takes a filter: the positions that pass, or null for all.
  filter(positions) {
    this.layout.passing = positions;
    this.redraw();
  }

  need(first, last) {
    if (!first) return;
    const units = this.viewport.shown.filter((unit) => unit.key !== "head");
    const missing = units.flatMap((unit) => listPositions(unit)).filter((position) => !this.log.get(position));
    if (missing.length) this.onNeed(missing);
    else if (units.length) this.log.forget(units[0].first, units.at(-1).last);
  }

  fill(unit) {
    if (unit.key === "head") return this.fillHeading(unit);
    unit.element ??= createElement("div", "block");
    const rows = new Map([...unit.element.children].map((row) => [row.dataset.key, row]));
    let place = unit.element.firstChild;
    const put = (row) => {
      if (row === place) place = place.nextSibling;
      else unit.element.insertBefore(row, place);
    };
    const { head } = unit.section;
    const leads = !unit.positions && (head ? unit.first === head.position + 1 : unit.first === 1);
    for (const position of [...(leads ? [unit.first - 1] : []), ...listPositions(unit)]) {
      if (position >= unit.first) put(this.takeRow(rows, position));
      for (const gap of unit.positions ? [] : (this.log.gaps.get(position) ?? [])) put(createGap(gap));
    }
    while (place) place = removeAfter(place);
  }

  // The row of a position: the one that is there, where it is still right.
  takeRow(rows, position) {
    const line = this.log.get(position);
    const key = `${position} ${line ? `${line.number} ${this.query}` : ""}`;
    const known = rows.get(key);
    const row = known ?? (line ? createRow(line, position, this.query, this.attempt) : createPending(position));
    row.dataset.key = key;
    row.classList.toggle("target", position === this.target);
    return row;
  }

  fillHeading(unit) {
    const { section } = unit;
    if (!unit.element) {
      section.heading = new Heading(section, this.attempt, () => this.toggle(section));
      unit.element = section.heading.element;
    }
    unit.element.classList.toggle("target", section.head !== null && section.head.position === this.target);
    this.describeSection(section);
  }

  // Tells the sections' times and states; `skew` is what the sender's clock is behind.
  describe(status = this.status, skew = this.skew) {
    Object.assign(this, { status, skew });
    for (const unit of [this.viewport.stuck, ...this.viewport.shown]) {
      if (unit?.key === "head" && unit.element) this.describeSection(unit.section);
    }
    this.onChange();
  }

  describeSection(section) {
    const { log } = this;
    section.heading.describe({
      state: this.judge(section),
      end: log.findEnd(section),
      latest: log.latest,
      whole: (log.lastStep.ended ?? log.latest) - log.firstStep.head.began,
      skew: this.skew,
    });
  }

  // What became of a step: the last one is what the run is.
  judge(section) {
    if (section !== this.log.lastStep) return "done";
    if (this.status === "completed") return "done";
    return this.status === "running" && section.ended !== null ? "done" : this.status;
  }

  // -- folding ------------------------------------------------------------------------------

  toggle(section) {
    this.setOpen(section, !section.open);
    // A heading that stuck to the top goes where it belongs.
    const unit = section.units[0];
    if (!section.open && unit.index >= 0) this.keepInView(unit);
    this.onToggle();
    this.describe();
  }

  setOpen(section, open) {
    if (section.open === open) return;
    section.open = open;
    if (open) section.opened = this.count = (this.count ?? 0) + 1;
    if (open) this.foldOldest(section);
    this.viewport.change(() => this.layout.rebuild(section.index));
  }

  foldOldest(kept) {
    const open = this.log.sections.filter((section) => section.open).sort((one, other) => (one.opened ?? 0) - (other.opened ?? 0));
    let rows = open.reduce((sum, section) => sum + section.size, 0);
    for (const section of open) {
      if (rows <= MOST_OPEN || section === kept) return;
      section.open = false;
      rows -= section.size;
    }
  }

  keepInView(unit) {
    this.viewport.bring(unit);
    const above = this.viewport.findTop(unit) - this.viewport.cover;
    if (above < 0) window.scrollBy({ top: above, behavior: "instant" });
  }

  foldAll(fold) {
    for (const section of this.log.sections) if (section.head) section.open = !fold;
    this.foldOldest(null);
    this.redraw();
  }

  get allFolded() {
    return this.log.sections.every((section) => !section.head || !section.open);
  }

  // -- the way to a line --------------------------------------------------------------------

  // Whether the filter lets a position through.
  lets(position) {
    const { passing } = this.layout;
    return !passing || passing[findIndex(passing, position)] === position;
  }

  // Shows the line at a position that the filter lets through, and marks it. `lazily` leaves the
  // page where it is if the line can be seen.
  reveal(position, { lazily = false } = {}) {
    const section = this.log.findSection(position);
    if (section.first <= position) this.setOpen(section, true);
    this.unmark();
    this.target = position;
    this.findRow(position)?.classList.add("target");
    if (!lazily || !this.isSeen(position)) {
      this.settling = position;
      this.settle(SETTLING_FRAMES);
    }
    this.describe();
  }

  // Keeps a row where it is to be while those around it come, unless the reader goes on: in the
  // middle, or at `top` pixels.
  settle(frames, top = null) {
    const { target } = this;
    const position = this.settling;
    const unit = position !== null && frames > 0 ? this.layout.findUnit(position) : null;
    if (!unit || (top === null && target !== position)) return;
    this.viewport.bring(unit);
    const before = this.findTop(position, unit);
    window.scrollBy({ top: before - (top ?? window.innerHeight / 2), behavior: "instant" });
    const isHere = unit.key === "head" || this.log.get(position);
    const rests = isHere && Math.abs(this.findTop(position, unit) - before) < 1;
    requestAnimationFrame(() => this.settle(rests ? frames - 1 : SETTLING_FRAMES, top));
  }

  // The line that was asked for, where it is seen, else the first one that is: its number, and
  // its top in the window.
  notePlace() {
    const rows = [...this.element.querySelectorAll("[data-position][id]")];
    const seen = rows.filter((each) => {
      const { top, bottom } = each.getBoundingClientRect();
      return bottom > this.viewport.cover + this.layout.head && top < window.innerHeight;
    });
    const row = seen.find((each) => Number(each.dataset.position) === this.target) ?? seen[0];
    return row ? { number: Number(row.id.slice(1)), top: row.getBoundingClientRect().top } : null;
  }

  // Brings the line at a position to where another log had it.
  place(position, top) {
    const section = this.log.findSection(position);
    if (section.first <= position) this.setOpen(section, true);
    this.settling = position;
    this.settle(SETTLING_FRAMES, top);
  }

  unmark() {
    for (const marked of this.element.querySelectorAll(".target")) marked.classList.remove("target");
    this.target = null;
  }

  findRow(position) {
    return this.element.querySelector(`[data-position="${position}"]`);
  }

  // Where in the window the row of a position begins, which is in the document.
  findTop(position, unit) {
    return unit.key === "head" ? this.viewport.findTop(unit) : this.findRow(position).getBoundingClientRect().top;
  }

  isSeen(position) {
    const unit = this.layout.findUnit(position);
    if (!unit || !this.viewport.shown.includes(unit)) return false;
    const top = this.findTop(position, unit);
    return top >= this.viewport.cover + (unit.key === "head" ? 0 : this.layout.head) && top + this.layout.row <= window.innerHeight;
  }

  // The position of the first row that is seen.
  get firstSeen() {
    const rows = [...this.element.querySelectorAll("[data-position]")];
    const row = rows.find((each) => each.getBoundingClientRect().top >= this.viewport.cover);
    return row ? Number(row.dataset.position) : null;
  }

  // The position that is shown after (or, with -1, before) one; null where there is none.
  step(position, direction) {
    const { passing } = this.layout;
    if (passing) return passing[direction > 0 ? findIndex(passing, position + 1) : findIndex(passing, position) - 1] ?? null;
    const next = position + direction;
    if (next < 1 || next > this.log.total) return null;
    const section = this.log.findSection(next);
    const isHead = next < section.first;
    if (isHead || section.open) return next;
    if (direction > 0) return this.step(section.last, 1);
    return section.head?.position ?? this.step(section.first, -1);
  }
}

function listPositions(unit) {
  return unit.positions ?? Array.from({ length: Math.max(0, unit.last - unit.first + 1) }, (_, index) => unit.first + index);
}

// Removes an element; returns what followed it.
function removeAfter(element) {
  const next = element.nextSibling;
  element.remove();
  return next;
}
