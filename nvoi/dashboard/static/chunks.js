// A long list of rows of which only those near the window are in the document: it is cut into
// chunks, and a chunk that is far away is an empty element of the same height.

// A chunk is full when it has so many rows, or so many characters: one row may have a megabyte.
const CHUNK_ROWS = 100;
const CHUNK_CHARACTERS = 50_000;
// How far outside of the window rows are kept.
const MARGIN = "1500px 0px";

// Heights that were measured, for a guess at those that were not.
const measured = { pixels: 0, rows: 0 };
const guess = (rows) => Math.round(rows * (measured.rows ? measured.pixels / measured.rows : 20));

const chunks = new WeakMap();
const observer = new IntersectionObserver(
  (changes) => {
    for (const change of changes) chunks.get(change.target)?.show(change.isIntersecting, change.boundingClientRect.height);
  },
  { rootMargin: MARGIN },
);

// Whether somebody is in there, who would be thrown out with the rows.
function isInUse(element) {
  const selection = getSelection();
  return element.contains(document.activeElement) || (!selection.isCollapsed && selection.containsNode(element, true));
}

// On paper there is no scrolling: all rows are there then.
window.addEventListener("beforeprint", () => {
  for (const element of document.querySelectorAll(".chunk")) chunks.get(element).render();
});
window.addEventListener("afterprint", () => {
  for (const element of document.querySelectorAll(".chunk")) {
    observer.unobserve(element);
    observer.observe(element);
  }
});

class Chunk {
  // `createRow` makes the row of an entry.
  constructor(createRow) {
    this.createRow = createRow;
    this.entries = [];
    this.characters = 0;
    this.element = document.createElement("div");
    this.element.className = "chunk";
    this.rendered = false;
    this.height = 0;
    chunks.set(this.element, this);
    observer.observe(this.element);
  }

  get full() {
    return this.entries.length >= CHUNK_ROWS || this.characters >= CHUNK_CHARACTERS;
  }

  // Whether its entries are those of `entries` from `index` on.
  isAt(entries, index) {
    return index >= 0 && this.entries.every((entry, offset) => entry === entries[index + offset]);
  }

  add(entry) {
    this.entries.push(entry);
    this.characters += entry.message?.length ?? 0;
    if (this.rendered) this.element.append(this.createRow(entry));
  }

  // To be called once after entries were added.
  settle() {
    if (!this.rendered) this.reserve(0);
  }

  show(near, height) {
    if (near) this.render();
    else if (this.rendered && !isInUse(this.element)) this.empty(height);
  }

  render() {
    if (this.rendered) return;
    this.rendered = true;
    this.element.replaceChildren(...this.entries.map((entry) => this.createRow(entry)));
    this.element.style.height = "";
  }

  empty(height) {
    this.rendered = false;
    this.element.replaceChildren();
    this.reserve(height);
  }

  // `height` is 0 where it could not be measured, as in a folded step.
  reserve(height) {
    if (height > 0) {
      measured.pixels += height;
      measured.rows += this.entries.length;
      this.height = height;
      this.rows = this.entries.length;
    }
    const known = this.rows === this.entries.length;
    this.element.style.height = `${known ? this.height : guess(this.entries.length)}px`;
  }

  remove() {
    observer.unobserve(this.element);
    this.element.remove();
  }
}

export class ChunkedList {
  constructor(element, createRow) {
    this.element = element;
    this.createRow = createRow;
    this.chunks = [];
    this.count = 0;
  }

  // Shows other entries than before; with `anew`, or the same in another way. Chunks at both
  // ends whose entries are the same stay as they are.
  replace(entries, anew) {
    let [begin, end] = [0, entries.length];
    let [head, tail] = [0, this.chunks.length];
    const size = (index) => this.chunks[index].entries.length;
    while (!anew && head < tail && this.chunks[head].isAt(entries, begin)) begin += size(head++);
    while (!anew && head < tail && end - size(tail - 1) >= begin && this.chunks[tail - 1].isAt(entries, end - size(tail - 1))) {
      end -= size(--tail);
    }
    const after = this.chunks.splice(tail);
    const gone = this.chunks.splice(head);
    this.count = begin;
    this.append(entries.slice(begin, end), after[0]?.element);
    // What was seen stays seen, or the page would jump until the observer has looked.
    gone.forEach((chunk, index) => chunk.rendered && this.chunks[head + index]?.render());
    for (const chunk of gone) chunk.remove();
    this.chunks.push(...after);
    this.count = entries.length;
  }

  // Shows entries after all others, in the document before the element `next`.
  append(entries, next = null) {
    let chunk = this.chunks.at(-1);
    const touched = new Set();
    for (const entry of entries) {
      if (!chunk || chunk.full) {
        const beside = chunk?.rendered && entries.length <= CHUNK_ROWS;
        chunk = new Chunk(this.createRow);
        // A few lines that come live beneath what is seen are seen at once.
        if (beside) chunk.render();
        this.chunks.push(chunk);
        this.element.insertBefore(chunk.element, next);
      }
      chunk.add(entry);
      touched.add(chunk);
    }
    for (const each of touched) each.settle();
    this.count += entries.length;
  }

  // The row of an entry, put into the document if need be; null where it is not in the list.
  find(entry) {
    const chunk = this.chunks.find((each) => each.entries.includes(entry));
    if (!chunk) return null;
    chunk.render();
    return chunk.element.children[chunk.entries.indexOf(entry)];
  }
}
