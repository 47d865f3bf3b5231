// The lines of an attempt, ordered for reading, in sections: each `step` line begins one.

export const LEVELS = ["debug", "info", "step", "ok", "success", "warning", "error"];

// What two clocks may differ by before it is told from the time that a message takes.
const LEAST_SKEW = 10_000;

// The order of reading.
export const compare = (one, other) => one.place - other.place || one.number - other.number;

// A step and what follows it. `head` is null for what comes before the first step. `entries`
// are lines and gaps ({first, last}), in order.
class Section {
  constructor(head) {
    this.head = head;
    this.clear();
  }

  clear() {
    this.entries = [];
    this.errors = 0;
    this.warnings = 0;
    this.missing = 0;
    this.began = this.head?.logged_at ?? null;
    this.latest = this.began;
  }

  add(line) {
    line.section = this;
    this.entries.push(line);
    if (line.level === "error") this.errors += 1;
    if (line.level === "warning") this.warnings += 1;
    this.began ??= line.logged_at;
    this.latest = Math.max(this.latest ?? line.logged_at, line.logged_at);
  }

  addGap(gap) {
    this.entries.push(gap);
    this.missing += gap.last - gap.first + 1;
  }
}

export class Lines {
  constructor() {
    this.ordered = [];
    this.byNumber = new Map();
    this.sections = [new Section(null)];
    this.counts = Object.fromEntries(LEVELS.map((level) => [level, 0]));
    this.gaps = [];
    // The highest number that is here: a resumed stream goes on after it.
    this.last = 0;
  }

  // Adds what is not here yet. Returns the new lines, and whether any of them, or the gaps,
  // came between what was there already.
  add(lines) {
    const fresh = [];
    let shuffled = false;
    for (const line of lines) {
      // A line may be twice in what is given, where one stream went on for another.
      if (this.byNumber.has(line.number)) continue;
      fresh.push(line);
      this.byNumber.set(line.number, line);
      this.counts[line.level] = (this.counts[line.level] ?? 0) + 1;
      this.last = Math.max(this.last, line.number);
      const previous = this.ordered.at(-1);
      const gap = this.gaps.at(-1);
      if ((previous && compare(line, previous) < 0) || (gap && gap.first > line.place)) shuffled = true;
      this.ordered.push(line);
      if (!shuffled) this.append(line);
    }
    if (shuffled) this.rebuild();
    return { fresh, shuffled };
  }

  // What the dashboard's clock, which dated the attempt, is ahead of the sender's, which dated
  // the lines: in milliseconds, 0 where both seem to be right. The first line comes soon after
  // the start, and nothing is heard before it was logged.
  estimateSkew({ started_at, last_seen_at }) {
    if (this.ordered.length === 0) return 0;
    const latest = this.sections.at(-1).latest ?? this.ordered.at(-1).logged_at;
    const skew = Math.min(started_at - this.ordered[0].logged_at, last_seen_at - latest);
    return Math.abs(skew) < LEAST_SKEW ? 0 : skew;
  }

  // Takes the attempt's gaps; returns whether they differ from those before.
  setGaps(gaps) {
    const same = (one, index) => one.first === this.gaps[index]?.first && one.last === this.gaps[index]?.last;
    if (gaps.length === this.gaps.length && gaps.every(same)) return false;
    this.gaps = [...gaps].sort((one, other) => one.first - other.first);
    this.rebuild();
    return true;
  }

  append(line) {
    if (line.level === "step") {
      const section = new Section(line);
      line.section = section;
      this.sections.push(section);
    } else {
      this.sections.at(-1).add(line);
    }
  }

  // Builds the sections anew, keeping those that are known by their step.
  rebuild() {
    this.ordered.sort(compare);
    const known = new Map(this.sections.map((section) => [section.head, section]));
    const open = (head) => {
      const section = known.get(head) ?? new Section(head);
      section.clear();
      if (head) head.section = section;
      return section;
    };
    this.sections = [open(null)];
    const gaps = [...this.gaps];
    for (const line of this.ordered) {
      while (gaps.length && gaps[0].first < line.place) this.sections.at(-1).addGap(gaps.shift());
      if (line.level === "step") this.sections.push(open(line));
      else this.sections.at(-1).add(line);
    }
    for (const gap of gaps) this.sections.at(-1).addGap(gap);
  }
}
