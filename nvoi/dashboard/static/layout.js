// Where on a page what is: headings and blocks of rows, one below the other, most of them never
// in the document. Heights are guessed until they were measured.

const BLOCK = 50;

export class Layout {
  constructor(log) {
    this.log = log;
    this.units = [];
    // The top of each unit, and the end of the last one.
    this.tops = [0];
    // Positions that pass the filter, in order; null without one.
    this.passing = null;
    this.row = 20;
    this.head = 34;
  }

  get height() {
    return this.tops.at(-1);
  }

  // Takes what the log has now; sections before `from` are as they were.
  rebuild(from = 0) {
    const { sections } = this.log;
    const kept = from > 0 && sections[from - 1].end !== undefined ? from : 0;
    const length = kept > 0 ? sections[kept - 1].end : 0;
    for (const unit of this.units.splice(length)) unit.index = -1;
    for (let index = kept; index < sections.length; index += 1) {
      const section = sections[index];
      section.index = index;
      this.divide(section);
      for (const unit of section.units) {
        unit.index = this.units.length;
        this.units.push(unit);
      }
      section.end = this.units.length;
    }
    this.sum(length);
  }

  // Adds up the heights from a unit on.
  sum(from) {
    this.tops.length = from + 1;
    for (let index = from; index < this.units.length; index += 1) {
      this.tops.push(this.tops[index] + this.units[index].height);
    }
  }

  // Cuts a section into units; those that it had stay the same.
  divide(section) {
    const known = new Map((section.units ?? []).map((unit) => [unit.key, unit]));
    const units = (section.units = []);
    const take = (key, values, height) => {
      const unit = known.get(key) ?? { key, section, element: null, index: -1, size: -1, height: 0 };
      if (unit.size !== values.size) Object.assign(unit, { height, stale: true });
      Object.assign(unit, values);
      units.push(unit);
    };
    const found = this.passing && this.select(section);
    if (found && found.length === 0) return;
    if (section.head || section.closing) take("head", { size: 0 }, this.head);
    const shown = found ? found.filter((position) => position !== section.head?.position) : null;
    if (shown) {
      for (let begin = 0; begin < shown.length; begin += BLOCK) {
        const positions = shown.slice(begin, begin + BLOCK);
        take(`found ${positions[0]} ${positions.at(-1)}`, { positions, first: positions[0], last: positions.at(-1), size: positions.length }, positions.length * this.row);
      }
    } else if (section.open) {
      let first = section.first;
      do {
        const last = Math.min(section.last, first + BLOCK - 1);
        take(`rows ${first}`, { positions: null, first, last, size: last - first + 1 }, (last - first + 1) * this.row);
        first = last + 1;
      } while (first <= section.last);
    }
  }

  // The positions in a section that pass the filter.
  select(section) {
    const begin = findIndex(this.passing, section.head?.position ?? section.first);
    return this.passing.slice(begin, findIndex(this.passing, section.last + 1));
  }

  // The unit at a height.
  find(height) {
    let [low, high] = [0, this.units.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= height) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // The unit that has a position; undefined where the filter leaves it out.
  findUnit(position) {
    const section = this.log.findSection(position);
    if (section?.head?.position === position && section.first > position) return section.units[0];
    return section?.units.find((unit) => unit.key !== "head" && unit.first <= position && position <= unit.last && (!unit.positions || unit.positions.includes(position)));
  }
}

// The index of the first of sorted numbers that is not below `least`.
export function findIndex(numbers, least) {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < least) low = middle + 1;
    else high = middle;
  }
  return low;
}
