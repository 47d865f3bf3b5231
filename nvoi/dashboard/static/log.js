// The log of an attempt: its sections by position, and those of its lines that are here. A
// position counts the lines from 1 in the order of reading.

// Lines that are fetched at a time, and pages of them that are kept.
export const PAGE = 200;
const MOST_PAGES = 600;

// As lines._STEP_TIME has it: "Build: 1.2 s", "Build: failed after 2 min 05 s".
const TIME = /^: (failed after )?[0-9][0-9a-z. ]*$/;
// As lines.LONGEST_NAME: what a heading has of a step's name.
const LONGEST_NAME = 300;

function isEnd(name, level, message) {
  return (level === "ok" || level === "warning") && message.startsWith(`${name}: `) && TIME.test(message.slice(name.length));
}

// As lines._SUMMARY has it.
const SUMMARY = /^(Where the time went:$|Running at https?:\/\/|[\p{L}\p{N}_]+ of .+ done(:| in) )/u;

function isSummary(level, message) {
  return (level === "info" || level === "success") && SUMMARY.test(message);
}

// A step and what follows it up to the next one; `head` is null for what comes before the first
// step, and for what `closing` follows the end of the last one. `first` and `last` are the
// positions of its lines, `last` is below `first` where there are none.
class Section {
  constructor(head, first, last, closing = false) {
    Object.assign(this, { head, first, last, closing });
    this.errors = head?.errors ?? 0;
    this.warnings = head?.warnings ?? 0;
    // Lines in it that never came.
    this.missing = 0;
    // When its end was told, in Unix milliseconds.
    this.ended = null;
    this.open = !head;
  }

  get size() {
    return this.last - this.first + 1;
  }
}

export class Log {
  // `clean` is what makes a text of a message.
  constructor(clean) {
    this.clean = clean;
    this.total = 0;
    this.late = 0;
    this.sections = [];
    this.errors = [];
    this.gaps = new Map();
    this.pages = new Map();
    this.began = null;
    this.latest = null;
    // The place of the last line: what comes before it came late.
    this.place = 0;
  }

  // Takes what the server tells of the whole log. Sections that are open stay so.
  reset(outline) {
    const open = new Set(this.sections.filter((section) => section.open && section.head).map((section) => section.head.number));
    const { lines, closing } = outline;
    const steps = outline.steps.map(([position, number, began, name, errors, warnings]) => ({ position, number, began, name, errors, warnings }));
    Object.assign(this, { total: lines, late: outline.late, errors: outline.errors, began: outline.began, latest: outline.latest });
    this.pages.clear();
    this.place = outline.place;
    const end = closing ?? lines + 1;
    this.sections = steps.map((step, index) => {
      // A name that was cut is there as a whole among the lines.
      const first = step.name.length > LONGEST_NAME ? step.position : step.position + 1;
      return new Section(step, first, (steps[index + 1]?.position ?? end) - 1);
    });
    for (const section of this.sections) section.open = open.has(section.head.number);
    const before = (steps[0]?.position ?? lines + 1) - 1;
    // There is always one, be it empty, for what comes live.
    if (before > 0 || outline.gaps.some((gap) => gap.after === 0) || steps.length === 0) this.sections.unshift(new Section(null, 1, before));
    if (closing !== null) this.addClosing(closing, lines, outline);
    this.setGaps(outline.gaps);
  }

  addClosing(first, last, { ended, closing_warnings: warnings }) {
    const step = this.sections.at(-1);
    step.ended = ended;
    if (last < first) return;
    const section = new Section(null, first, last, true);
    section.errors = this.errors.filter((position) => position >= first).length;
    section.warnings = warnings;
    this.sections.push(section);
  }

  setGaps(gaps) {
    this.gaps = new Map();
    for (const gap of gaps) this.gaps.set(gap.after, [...(this.gaps.get(gap.after) ?? []), gap]);
    this.missing = 0;
    for (const { after, first, last } of gaps) {
      this.missing += last - first + 1;
      this.findSection(after).missing += last - first + 1;
    }
  }

  get(position) {
    return this.pages.get(Math.floor((position - 1) / PAGE))?.[(position - 1) % PAGE];
  }

  put(position, line) {
    const page = Math.floor((position - 1) / PAGE);
    if (!this.pages.has(page)) this.pages.set(page, []);
    this.pages.get(page)[(position - 1) % PAGE] = line;
  }

  // Takes lines that were fetched, from `position` on.
  keep(position, lines) {
    lines.forEach((line, index) => this.put(position + index, line));
  }

  // Forgets pages far from those with the positions `first` to `last`.
  forget(first, last) {
    if (this.pages.size <= MOST_PAGES) return;
    const middle = (first + last) / 2 / PAGE;
    const far = [...this.pages.keys()].sort((one, other) => Math.abs(other - middle) - Math.abs(one - middle));
    for (const page of far.slice(0, this.pages.size - MOST_PAGES / 2)) this.pages.delete(page);
  }

  // Adds a line that came after all others; false where it did not, and the log is to be read anew.
  add(line) {
    if (line.number <= this.total) return true;
    if (line.number > this.total + 1 || line.place < this.place) return false;
    const position = ++this.total;
    this.place = line.place;
    this.put(position, line);
    this.began ??= line.logged_at;
    this.latest = Math.max(this.latest ?? 0, line.logged_at);
    if (line.level === "step") this.addStep(position, line);
    else this.addToLast(position, line);
    if (line.level === "error") this.errors.push(position);
    return true;
  }

  addStep(position, line) {
    const last = this.sections.at(-1);
    if (last?.closing) {
      // The run went on: what followed the end of the step was not the end of all.
      this.sections.pop();
      const step = this.sections.at(-1);
      step.last = last.last;
      step.errors += last.errors;
      step.warnings += last.warnings;
    }
    const name = this.clean(line.message).slice(0, LONGEST_NAME + 1);
    const head = { position, number: line.number, began: line.logged_at, name, errors: 0, warnings: 0 };
    this.sections.push(new Section(head, name.length > LONGEST_NAME ? position : position + 1, position));
  }

  addToLast(position, line) {
    let section = this.sections.at(-1);
    const text = this.clean(line.message);
    if (section.head && section.ended === null && isSummary(line.level, text)) section.ended = line.logged_at;
    if (section.head && section.ended !== null) this.sections.push((section = new Section(null, position, position, true)));
    section.last = position;
    if (line.level === "error") section.errors += 1;
    if (line.level === "warning") section.warnings += 1;
    if (section.head && isEnd(section.head.name, line.level, text)) section.ended = line.logged_at;
  }

  // The number of the line at a position; null where it cannot be known yet.
  findNumber(position) {
    if (this.late === 0) return position;
    const head = this.findSection(position)?.head;
    return this.get(position)?.number ?? (head?.position === position ? head.number : null);
  }

  // The section that a position is in, be it its heading or one of its lines.
  findSection(position) {
    let [low, high] = [0, this.sections.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      const { head, first } = this.sections[middle];
      if ((head?.position ?? first) <= position) low = middle;
      else high = middle - 1;
    }
    return this.sections[low];
  }

  get lastStep() {
    return this.sections.findLast((section) => section.head) ?? null;
  }

  get firstStep() {
    return this.sections[0]?.head ? this.sections[0] : (this.sections[1] ?? null);
  }

  // How many sections have a heading that folds them.
  get stepCount() {
    return this.sections.length - (this.sections[0]?.head ? 0 : 1) - (this.sections.at(-1)?.closing ? 1 : 0);
  }

  // When a step ended, null for one that has not.
  findEnd(section) {
    if (section.ended !== null) return section.ended;
    const next = this.sections[section.index + 1];
    return next?.head?.began ?? null;
  }

  // What the dashboard's clock, which dated the attempt, is ahead of the sender's, which dated
  // the lines: in milliseconds, 0 where both seem to be right. The first line comes soon after
  // the start, and nothing is heard before it was logged.
  estimateSkew({ started_at, last_seen_at }) {
    if (this.began === null) return 0;
    const skew = Math.min(started_at - this.began, last_seen_at - this.latest);
    return Math.abs(skew) < LEAST_SKEW ? 0 : skew;
  }
}

// What two clocks may differ by before it is told from the time that a message takes.
const LEAST_SKEW = 10_000;
