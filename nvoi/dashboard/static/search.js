// What is looked for in a log: a text, levels, and whether all other lines are left out. The
// server finds, so that a million lines need not be here; what comes live is looked at here.

import { cleanText } from "./ansi.js";

// As protocol.LEVELS has them, the least first.
const LEVELS = ["debug", "info", "step", "ok", "success", "warning", "error"];

export class Search {
  // Calls onChange() when what is found has changed.
  constructor(source, { onChange }) {
    Object.assign(this, { source, onChange });
    this.state = { query: "", level: "debug", only: false };
    this.matches = [];
    this.passing = null;
    this.more = false;
    this.busy = false;
    this.asked = null;
  }

  get filters() {
    return this.state.level !== "debug" || (this.state.only && this.state.query !== "");
  }

  // Takes a part of another state, and finds what it asks for.
  async set(state) {
    Object.assign(this.state, state);
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    const { query, level, only } = this.state;
    this.busy = true;
    this.onChange();
    try {
      const found = query ? await this.find(query, level, asked.signal) : null;
      const passing = !this.filters ? null : query && only ? found : await this.find("", level, asked.signal);
      if (asked.signal.aborted) return;
      this.matches = found?.positions ?? [];
      this.more = Boolean(found?.more || passing?.more);
      this.passing = passing?.positions ?? null;
    } catch (error) {
      if (asked.signal.aborted) return;
      Object.assign(this, { matches: [], passing: null, more: false });
    }
    this.busy = false;
    this.onChange();
  }

  async find(text, level, signal) {
    const { positions, more } = await this.source.ask("matches.json", { text, level }, signal);
    return { positions, more };
  }

  // Takes lines that came after all others, the last one at the position `last`.
  add(lines, last) {
    const { query, level, only } = this.state;
    lines.forEach((line, index) => {
      const position = last - lines.length + 1 + index;
      if (LEVELS.indexOf(line.level) < LEVELS.indexOf(level)) return;
      const isMatch = query !== "" && cleanText(line.message).toLowerCase().includes(query);
      if (isMatch && !this.more) this.matches.push(position);
      if (this.passing && !this.more && this.passing !== this.matches && (isMatch || !only || !query)) this.passing.push(position);
    });
  }
}
