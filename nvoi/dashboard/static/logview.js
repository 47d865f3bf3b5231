// The log in the document: sections, the filter, and the way to a line.

import { LEVELS } from "./lines.js";
import { createRow } from "./rows.js";
import { StepView } from "./steps.js";
import { cleanText } from "./text.js";

// Frames in which a line that was scrolled to may still be moved by rows that come into view.
const SETTLING_FRAMES = 12;
// Pixels at the window's top that may be covered.
const MOST_COVERED = 90;

export class LogView {
  // `lines` is what is shown, of the attempt with the number `attempt`. Calls onChange() when
  // what is shown has changed, and onToggle() when the reader opens or folds a step.
  constructor(element, lines, { attempt, onChange, onToggle }) {
    Object.assign(this, { element, lines, attempt, onChange, onToggle });
    this.views = new Map();
    this.filter = { query: "", level: "debug" };
    this.status = "running";
    this.skew = 0;
    this.target = null;
    this.settling = null;
    for (const kind of ["wheel", "touchstart", "pointerdown", "keydown"]) {
      document.addEventListener(kind, () => (this.settling = null), { passive: true });
    }
  }

  get filtering() {
    return this.filter.query !== "" || this.filter.level !== "debug";
  }

  // How many lines pass the filter that is set.
  get shown() {
    return this.listViews().reduce((sum, view) => sum + view.shown, 0);
  }

  listViews() {
    return this.lines.sections.map((section) => this.views.get(section)).filter(Boolean);
  }

  // Whether an entry passes the filter. What was never received passes none.
  passes(entry) {
    if (!this.filtering) return true;
    if (entry.number === undefined) return false;
    if (LEVELS.indexOf(entry.level) < LEVELS.indexOf(this.filter.level)) return false;
    return !this.filter.query || this.find(entry.message);
  }

  find(message) {
    return cleanText(message).toLowerCase().includes(this.filter.query);
  }

  // Whether a section's heading by itself is a match.
  headPasses(section) {
    return Boolean(section.head) && this.filter.query !== "" && this.filter.level === "debug" && this.find(section.head.message);
  }

  // Shows what there is where it belongs, after lines came between others; the rows `anew`
  // where the filter has become another.
  redraw({ anew = false } = {}) {
    const wanted = new Set(this.lines.sections);
    for (const [section, view] of this.views) {
      if (!wanted.has(section)) {
        view.element.remove();
        this.views.delete(section);
      }
    }
    let place = this.element.firstChild;
    for (const section of this.lines.sections) {
      const view = this.ensureView(section);
      if (view.element === place) place = place.nextSibling;
      else this.element.insertBefore(view.element, place);
      view.replace(section.entries.filter((entry) => this.passes(entry)), anew);
      this.judge(view);
    }
    this.describe();
  }

  // Shows lines that came after all others.
  append(fresh) {
    const bySection = new Map();
    for (const line of fresh) {
      const { section } = line;
      if (!bySection.has(section)) bySection.set(section, []);
      if (section.head !== line && this.passes(line)) bySection.get(section).push(line);
    }
    for (const [section, entries] of bySection) {
      const view = this.ensureView(section);
      view.append(entries);
      this.judge(view);
    }
    this.describe();
  }

  // A step is shown where anything of it passes the filter.
  judge(view) {
    view.headPasses = this.headPasses(view.section);
    view.element.hidden = this.filtering && view.shown === 0;
  }

  // Rows come and go with what is near the window: the one that was asked for stays marked.
  createRow(entry) {
    const row = createRow(entry, this.filter.query, this.attempt);
    row.classList.toggle("target", entry === this.target);
    return row;
  }

  ensureView(section) {
    let view = this.views.get(section);
    if (!view) {
      view = new StepView(section, {
        createRow: (entry) => this.createRow(entry),
        attempt: this.attempt,
        onToggle: () => {
          this.onToggle();
          this.onChange();
        },
      });
      this.views.set(section, view);
      this.element.append(view.element);
    }
    return view;
  }

  // Tells the sections' times and states. `skew` is what the sender's clock is behind.
  describe(status = this.status, skew = this.skew) {
    Object.assign(this, { status, skew });
    const { sections } = this.lines;
    sections.forEach((section, index) => {
      this.views.get(section)?.describe(sections[index + 1]?.began ?? null, status, skew);
    });
    this.onChange();
  }

  setFilter(filter) {
    const was = this.filtering;
    this.filter = { ...this.filter, ...filter };
    // While a filter is set every match is seen; without it, folded steps are folded again.
    if (!was && this.filtering) this.folded = this.listViews().filter((view) => !view.open);
    if (this.filtering) this.foldAll(false);
    else if (was) for (const view of this.folded ?? []) view.setOpen(false);
    this.redraw({ anew: true });
  }

  foldAll(fold) {
    for (const view of this.listViews()) view.setOpen(!fold);
    this.onChange();
  }

  get foldable() {
    return this.listViews().filter((view) => view.button);
  }

  get allFolded() {
    return this.foldable.length > 0 && this.foldable.every((view) => !view.open);
  }

  // How an ended deploy is opened: its last step, the others folded.
  openLast() {
    const { foldable } = this;
    for (const view of foldable) view.setOpen(view === foldable.at(-1));
    this.onChange();
  }

  // Whether the filter lets a line through.
  lets(line) {
    if (!this.filtering) return true;
    return line.section.head === line ? this.headPasses(line.section) : this.passes(line);
  }

  // Shows a line that the filter lets through, in its step. `lazily` leaves the page where it
  // is if the line can be seen.
  reveal(line, { lazily = false } = {}) {
    const isHead = line.section.head === line;
    const view = this.views.get(line.section);
    if (!isHead) view.setOpen(true);
    const row = isHead ? view.heading : view.list.find(line);
    this.unmark();
    row.classList.add("target");
    this.target = line;
    this.settling = line;
    if (!lazily || !isSeen(row)) this.settle(row, SETTLING_FRAMES);
    this.onChange();
  }

  // Takes the mark from the line that has it.
  unmark() {
    for (const marked of this.element.querySelectorAll(".target")) marked.classList.remove("target");
    this.target = null;
  }

  // The lines that are seen, each with its place in the window, for keepPlace: the one that was
  // asked for before the others.
  listSeen() {
    const rows = [...this.element.querySelectorAll(".line")].map((row) => [row, row.getBoundingClientRect()]);
    const seen = rows.filter(([, { height, bottom, top }]) => height > 0 && bottom > 0 && top < window.innerHeight);
    const places = seen.map(([row, { top }]) => ({ line: this.lines.byNumber.get(Number(row.id.slice(1))), top }));
    return places.sort((one, other) => (other.line === this.target) - (one.line === this.target));
  }

  // Scrolls so that the first of the lines that were seen, and still are there, has not moved.
  keepPlace(seen) {
    for (const { line, top } of seen) {
      const view = this.views.get(line.section);
      const row = view.open && view.list.find(line);
      if (row) return window.scrollBy({ top: row.getBoundingClientRect().top - top, behavior: "instant" });
    }
  }

  // Keeps a row in its place while those around it come into view, unless the reader goes on.
  settle(row, frames) {
    if (!row.isConnected || frames === 0 || this.target !== this.settling) return;
    row.scrollIntoView({ block: "center" });
    requestAnimationFrame(() => this.settle(row, frames - 1));
  }
}

function isSeen(row) {
  const { top, bottom } = row.getBoundingClientRect();
  // The tools and the step's name may lie above the first lines.
  return top >= MOST_COVERED && bottom <= window.innerHeight;
}
