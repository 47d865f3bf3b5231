// A long list of rows of which only those near the window are in the document: it is cut into
// chunks, and a chunk that is far away is an empty element of the same height.

const CHUNK_ROWS = 100;
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

class Chunk {
  // `createRow` makes the row of an entry.
  constructor(createRow) {
    this.createRow = createRow;
    this.entries = [];
    this.element = document.createElement("div");
    this.element.className = "chunk";
    this.rendered = false;
    this.height = 0;
    chunks.set(this.element, this);
    observer.observe(this.element);
  }

  get full() {
    return this.entries.length >= CHUNK_ROWS;
  }

  add(entry) {
    this.entries.push(entry);
    if (this.rendered) this.element.append(this.createRow(entry));
  }

  // To be called once after entries were added.
  settle() {
    if (!this.rendered) this.reserve(0);
  }

  show(near, height) {
    if (near) this.render();
    else if (this.rendered && !this.element.contains(document.activeElement)) this.empty(height);
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

  // Shows other entries than before, or the same in another way.
  replace(entries) {
    const rendered = this.chunks.map((chunk) => chunk.rendered);
    for (const chunk of this.chunks) chunk.remove();
    this.chunks = [];
    this.count = 0;
    this.append(entries);
    // What was seen stays seen, or the page would jump until the observer has looked.
    this.chunks.forEach((chunk, index) => rendered[index] && chunk.render());
  }

  append(entries) {
    let chunk = this.chunks.at(-1);
    const touched = new Set();
    for (const entry of entries) {
      if (!chunk || chunk.full) {
        const beside = chunk?.rendered && entries.length <= CHUNK_ROWS;
        chunk = new Chunk(this.createRow);
        // A few lines that come live beneath what is seen are seen at once.
        if (beside) chunk.render();
        this.chunks.push(chunk);
        this.element.append(chunk.element);
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
