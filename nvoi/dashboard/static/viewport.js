// Keeps those units of a layout in the document that are near the window, with room for all the
// others above and below, and what is read in its place.

// How far outside of the window units are kept, in pixels.
const MARGIN = 1200;
// Browsers draw no element that is higher than about 17 million pixels: room for units that are
// not in the document is drawn smaller where all together would be.
const MOST_PIXELS = 12_000_000;
// Rows of a selection that stay in the document while the window is elsewhere.
const MOST_SELECTED = 200;

export class Viewport {
  // `fill` puts into a unit's element what it has now. Calls onShow(first, last) with the units
  // that are in the document.
  constructor(root, layout, { fill, onShow }) {
    Object.assign(this, { root, layout, fill, onShow });
    this.above = root.appendChild(document.createElement("div"));
    this.below = root.appendChild(document.createElement("div"));
    // The units that are in the document, without gaps; and the heading above them that sticks.
    this.shown = [];
    this.stuck = null;
    this.cover = 0;
    this.frame = null;
    const plan = () => this.plan();
    document.addEventListener("scroll", plan, { passive: true });
    new ResizeObserver(plan).observe(document.documentElement);
  }

  plan() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.update();
    });
  }

  get scale() {
    return Math.min(1, MOST_PIXELS / Math.max(1, this.layout.height));
  }

  // Shows what is near the window now.
  update() {
    const { top } = this.root.getBoundingClientRect();
    const [begin, end] = [this.locate(-top - MARGIN), this.locate(window.innerHeight - top + MARGIN)];
    this.show(this.layout.find(begin), this.layout.find(end));
  }

  // The height in the layout of what is `y` pixels below the root's top.
  locate(y) {
    const { tops } = this.layout;
    const inside = this.shown.filter((unit) => unit.index >= 0);
    if (inside.length === 0) return y / this.scale;
    const [first, end] = [tops[inside[0].index], tops[inside.at(-1).index + 1]];
    const above = first * this.scale;
    if (y < above) return y / this.scale;
    return y <= above + end - first ? first + y - above : end + (y - above - end + first) / this.scale;
  }

  show(begin, end, anchor = this.pickAnchor()) {
    const { units } = this.layout;
    const wanted = units.slice(begin, end + 1);
    this.include(wanted);
    this.reconcile(wanted);
    this.measure();
    this.reserve();
    if (anchor) this.restore(anchor);
    this.onShow(wanted[0], wanted.at(-1));
  }

  // What is selected stays: somebody is about to copy it.
  include(wanted) {
    const selection = getSelection();
    if (selection.isCollapsed || !selection.rangeCount || !this.root.contains(selection.anchorNode)) return;
    const chosen = this.shown.filter((unit) => unit.index >= 0 && selection.containsNode(unit.element, true));
    if (chosen.length === 0 || wanted.length === 0) return;
    const [first, last] = [Math.min(chosen[0].index, wanted[0].index), Math.max(chosen.at(-1).index, wanted.at(-1).index)];
    if (last - first <= MOST_SELECTED) wanted.splice(0, wanted.length, ...this.layout.units.slice(first, last + 1));
  }

  // Puts units into the document in their order, and takes all others out.
  reconcile(wanted) {
    const head = wanted[0]?.section.units[0];
    const stuck = head && head.key === "head" && head !== wanted[0] ? head : null;
    const keep = new Set(stuck ? [stuck, ...wanted] : wanted);
    for (const unit of [this.stuck, ...this.shown]) if (unit?.element && !keep.has(unit)) this.remove(unit);
    let place = this.root.firstChild;
    const put = (element) => {
      if (element === place) place = place.nextSibling;
      else this.root.insertBefore(element, place);
    };
    if (stuck) put(this.ensure(stuck));
    put(this.above);
    for (const unit of wanted) put(this.ensure(unit));
    put(this.below);
    this.stuck = stuck;
    this.shown = wanted;
  }

  ensure(unit) {
    if (!unit.element || unit.stale) this.fill(unit);
    unit.stale = false;
    return unit.element;
  }

  remove(unit) {
    // Who was in there goes on from here.
    if (unit.element.contains(document.activeElement)) this.root.focus({ preventScroll: true });
    unit.element.remove();
    unit.element = null;
  }

  measure() {
    let changed = Infinity;
    let [pixels, rows] = [0, 0];
    for (const unit of this.shown) {
      const { height } = unit.element.getBoundingClientRect();
      if (unit.key !== "head") [pixels, rows] = [pixels + height, rows + unit.size];
      if (Math.abs(height - unit.height) < 0.1) continue;
      unit.height = height;
      changed = Math.min(changed, unit.index);
    }
    if (rows > 20) this.layout.row = pixels / rows;
    if (changed < Infinity) this.layout.sum(changed);
  }

  reserve() {
    const { tops, height } = this.layout;
    const [first, last] = [this.shown[0], this.shown.at(-1)];
    const above = first ? tops[first.index] * this.scale : 0;
    const stuck = this.stuck ? this.stuck.element.offsetHeight : 0;
    this.above.style.height = `${Math.max(0, above - stuck)}px`;
    this.below.style.height = `${last ? (height - tops[last.index + 1]) * this.scale : 0}px`;
  }

  // The first row that is seen below what covers the window's top, and where it is.
  pickAnchor() {
    for (const unit of this.shown) {
      if (!unit.element?.isConnected) continue;
      const box = unit.element.getBoundingClientRect();
      if (box.bottom <= this.cover || box.top > window.innerHeight) continue;
      if (unit.key === "head") {
        // One that sticks is not where it belongs.
        if (box.top > this.cover + 1) return { unit, row: null, top: box.top };
        continue;
      }
      const row = [...unit.element.children].find((each) => each.getBoundingClientRect().bottom > this.cover);
      if (row) return { unit, row: row.dataset.position ?? null, top: row.getBoundingClientRect().top };
    }
    return null;
  }

  restore({ unit, row, top }) {
    const element = row && unit.element ? unit.element.querySelector(`[data-position="${row}"]`) : unit.element;
    if (!element?.isConnected) return;
    const moved = element.getBoundingClientRect().top - top;
    if (Math.abs(moved) >= 1) window.scrollBy({ top: moved, behavior: "instant" });
  }

  // Changes what there is while what is read stays where it is.
  change(act) {
    const anchor = this.pickAnchor();
    act();
    const { top } = this.root.getBoundingClientRect();
    const [begin, end] = [this.locate(-top - MARGIN), this.locate(window.innerHeight - top + MARGIN)];
    this.show(this.layout.find(begin), this.layout.find(end), anchor);
  }

  // Where in the window a unit in the document begins; a heading may stick elsewhere.
  findTop(unit) {
    const { tops } = this.layout;
    const first = tops[this.shown[0].index];
    return this.root.getBoundingClientRect().top + first * this.scale + tops[unit.index] - first;
  }

  // Brings a unit into the document, wherever the window is. The caller scrolls to it.
  bring(unit) {
    const { index } = unit;
    if (this.shown.includes(unit)) return;
    this.show(Math.max(0, index - 8), Math.min(this.layout.units.length - 1, index + 8), null);
  }
}
