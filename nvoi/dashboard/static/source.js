// Where the lines come from: whole pages of them first, then server-sent events, which go on
// after the last line that is here.

const PAGE_LINES = 5000;
// Milliseconds between looks at a deploy whose page cannot be seen. Browsers allow six
// connections to a host, so that an open stream is for those who look.
const HIDDEN_POLL = 4000;
// And at one whose stream is open: a connection may be dead without anybody being told.
const WATCH = 20000;
const LEAST_RETRY = 500;
const MOST_RETRY = 8000;
// Milliseconds for an answer.
const PATIENCE = 15000;

export class GoneError extends Error {}

export class Source {
  // `api` is the deploy's address, `attempt` the attempt's number. `lines` knows what is here.
  // Calls onLines(lines), onAttempt(attempt) and onState("live" | "reconnecting" | "gone" | "hidden").
  constructor(api, attempt, lines, { onLines, onAttempt, onState }) {
    Object.assign(this, { api, attempt, lines, onLines, onAttempt, onState });
    this.stream = null;
    this.retry = LEAST_RETRY;
    this.timers = new Set();
  }

  // Everything that is stored, then what comes. Returns when all that was stored is here.
  async start() {
    await this.load();
    document.addEventListener("visibilitychange", () => this.resume());
    window.addEventListener("online", () => this.resume());
    window.addEventListener("pageshow", (event) => event.persisted && this.resume());
    this.resume();
  }

  async load() {
    for (;;) {
      try {
        const attempt = await this.fetchAttempt();
        await this.fetchLines();
        this.onAttempt(attempt);
        return;
      } catch (error) {
        if (this.handle(error)) await new Promise(() => {});
        await new Promise((resolve) => setTimeout(resolve, this.nextRetry()));
      }
    }
  }

  async fetchLines() {
    for (;;) {
      const query = new URLSearchParams({ attempt: this.attempt, after: this.lines.last, limit: PAGE_LINES });
      const page = await fetchJson(`${this.api}/lines.json?${query}`);
      this.onLines(page.lines);
      if (!page.more || page.lines.length === 0) return;
    }
  }

  async fetchAttempt() {
    const { attempts } = await fetchJson(`${this.api}.json`);
    const found = attempts.find((each) => each.number === this.attempt);
    if (!found) throw new GoneError("the attempt is gone");
    return found;
  }

  // Goes on in the way that fits: a stream for those who look, a poll for those who do not.
  resume() {
    this.pause();
    if (document.hidden) {
      this.onState("hidden");
      this.after(HIDDEN_POLL, () => this.poll());
    } else {
      this.open();
    }
  }

  pause() {
    this.stream?.close();
    this.stream = null;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }

  after(milliseconds, act) {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      act();
    }, milliseconds);
    this.timers.add(timer);
  }

  open() {
    const query = new URLSearchParams({ attempt: this.attempt, after: this.lines.last });
    const stream = new EventSource(`${this.api}/events?${query}`);
    this.stream = stream;
    stream.addEventListener("open", () => {
      this.retry = LEAST_RETRY;
      this.onState("live");
    });
    stream.addEventListener("lines", (event) => this.onLines(JSON.parse(event.data)));
    stream.addEventListener("attempt", (event) => this.onAttempt(JSON.parse(event.data)));
    stream.addEventListener("error", () => this.reconnect(stream));
    this.after(WATCH, () => this.watch());
  }

  // The browser tries again by itself where the connection broke, and names the last event it
  // had; but only slowly, and not at all after an answer that was no stream.
  reconnect(stream) {
    if (stream !== this.stream) return;
    this.pause();
    this.onState("reconnecting");
    this.after(this.nextRetry(), () => this.check());
  }

  // Tells a server that is away from a deploy that is, or a session that has ended.
  async check() {
    try {
      this.onAttempt(await this.fetchAttempt());
    } catch (error) {
      if (!this.handle(error)) this.after(this.nextRetry(), () => this.check());
      return;
    }
    this.resume();
  }

  async watch() {
    const before = this.lines.last;
    try {
      const attempt = await this.fetchAttempt();
      this.onAttempt(attempt);
      // Nothing came, though there is something: the stream is dead.
      if (attempt.lines > before && this.lines.last === before) return this.resume();
    } catch (error) {
      if (this.handle(error)) return;
      return this.reconnect(this.stream);
    }
    this.after(WATCH, () => this.watch());
  }

  async poll() {
    try {
      this.onAttempt(await this.fetchAttempt());
    } catch (error) {
      if (this.handle(error)) return;
    }
    if (document.hidden) this.after(HIDDEN_POLL, () => this.poll());
  }

  // Returns whether an error is the end of it.
  handle(error) {
    const gone = error instanceof GoneError;
    if (gone) this.pause();
    this.onState(gone ? "gone" : document.hidden ? "hidden" : "reconnecting");
    return gone;
  }

  nextRetry() {
    const wait = this.retry * (0.75 + Math.random() / 2);
    this.retry = Math.min(MOST_RETRY, this.retry * 2);
    return wait;
  }
}

async function fetchJson(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE) });
  if (answer.redirected || [401, 403, 404].includes(answer.status)) throw new GoneError(`answered with ${answer.status}`);
  if (!answer.ok) throw new Error(`answered with ${answer.status}`);
  return answer.json();
}
