// Where the lines come from: an outline of the log first, any part of it as it is needed, and
// server-sent events with what comes after all that.

import { PAGE } from "./log.js";

// Pages that are asked for at one time.
const MOST_REQUESTS = 3;
// Milliseconds between looks at a deploy whose page cannot be seen. Browsers allow six
// connections to a host, so that an open stream is for those who look.
const HIDDEN_POLL = 4000;
// And at one whose stream is open: a connection may be dead without anybody being told.
const WATCH = 20000;
const LEAST_RETRY = 500;
const MOST_RETRY = 8000;
// Milliseconds for an answer.
const PATIENCE = 15000;

class GoneError extends Error {}

export class Source {
  // `api` is the deploy's address, `attempt` the attempt's number, `log` what is here. Calls
  // onOutline(outline) when it has come, which puts it into the log, onPage() when lines that were asked for have,
  // onLines(lines), onAttempt(attempt) and
  // onState("live" | "reconnecting" | "gone" | "hidden").
  constructor(api, attempt, log, callbacks) {
    Object.assign(this, { api, attempt, log, ...callbacks });
    this.stream = null;
    this.retry = LEAST_RETRY;
    this.timers = new Set();
    // Pages that are wanted, and those that are being fetched.
    this.wanted = [];
    this.fetching = new Set();
    this.version = 0;
  }

  // The outline, then what comes. Returns when the outline is here.
  async start() {
    await this.readOutline();
    document.addEventListener("visibilitychange", () => this.resume());
    window.addEventListener("online", () => this.resume());
    window.addEventListener("pageshow", (event) => event.persisted && this.resume());
    // What the page opens with is asked for first.
    setTimeout(() => this.resume(), 0);
  }

  // Reads the outline until it is here: at the start, and when lines came between others.
  async readOutline() {
    for (;;) {
      try {
        const outline = await this.ask("outline.json");
        this.version += 1;
        this.wanted = [];
        this.fetching.clear();
        return await this.onOutline(outline);
      } catch (error) {
        if (this.handle(error)) await new Promise(() => {});
        await new Promise((resolve) => setTimeout(resolve, this.nextRetry()));
      }
    }
  }

  ask(path, query = {}, signal = null) {
    return fetchJson(`${this.api}/${path}?${new URLSearchParams({ attempt: this.attempt, ...query })}`, signal);
  }

  async findPosition(number) {
    if (this.log.late === 0) return number >= 1 && number <= this.log.total ? number : null;
    return this.askPosition(number);
  }

  async askPosition(number) {
    return (await this.ask("position.json", { number })).position;
  }

  // The lines around a position, whatever is here: from which one on, and they.
  async readAround(position) {
    const first = Math.max(1, position - PAGE);
    return { first, lines: (await this.ask("lines.json", { position: first, limit: 2 * PAGE })).lines };
  }

  // -- parts of the log ---------------------------------------------------------------------

  // Fetches the lines at these positions; what was wanted before and is not under way is not.
  need(positions) {
    this.wanted = [...new Set(positions.map((position) => Math.floor((position - 1) / PAGE)))];
    this.fetchNext();
  }

  fetchNext() {
    while (this.wanted.length && this.fetching.size < MOST_REQUESTS) {
      const page = this.wanted.shift();
      if (!this.fetching.has(page)) this.fetchPage(page);
    }
  }

  async fetchPage(page) {
    const { version } = this;
    this.fetching.add(page);
    try {
      let position = page * PAGE + 1;
      const end = Math.min(position + PAGE, this.log.total + 1);
      // Of very long lines there are fewer in an answer than were asked for.
      while (position < end) {
        const { lines } = await this.ask("lines.json", { position, limit: end - position });
        if (version !== this.version || lines.length === 0) return;
        this.log.keep(position, lines);
        position += lines.length;
      }
    } catch (error) {
      if (this.handle(error)) return;
      await new Promise((resolve) => setTimeout(resolve, this.nextRetry()));
    } finally {
      if (version === this.version) this.fetching.delete(page);
    }
    this.onPage();
    this.fetchNext();
  }

  // -- what comes ---------------------------------------------------------------------------

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
    // Numbers are given in the order of arrival, so all that is known has those up to the total.
    const query = new URLSearchParams({ attempt: this.attempt, after: this.log.total });
    const stream = new EventSource(`${this.api}/events?${query}`);
    this.stream = stream;
    stream.addEventListener("open", () => {
      this.retry = LEAST_RETRY;
      this.onState("live");
    });
    stream.addEventListener("lines", (event) => this.take(JSON.parse(event.data)));
    stream.addEventListener("attempt", (event) => this.takeAttempt(JSON.parse(event.data)));
    stream.addEventListener("error", () => this.reconnect(stream));
    this.after(WATCH, () => this.watch());
  }

  take(lines) {
    const fresh = lines.filter((line) => line.number > this.log.total);
    for (const line of fresh) if (!this.log.add(line)) return this.startAgain();
    if (fresh.length) this.onLines(fresh);
  }

  takeAttempt(attempt) {
    if (attempt.late !== this.log.late) return this.startAgain();
    this.onAttempt(attempt);
  }

  // Lines came between others: positions are not what they were.
  async startAgain() {
    this.pause();
    await this.readOutline();
    this.resume();
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
      this.takeAttempt(await this.fetchAttempt());
    } catch (error) {
      if (!this.handle(error)) this.after(this.nextRetry(), () => this.check());
      return;
    }
    this.resume();
  }

  async watch() {
    const before = this.log.total;
    try {
      const attempt = await this.fetchAttempt();
      this.takeAttempt(attempt);
      // Nothing came, though there is something: the stream is dead.
      if (attempt.lines > before && this.log.total === before) return this.resume();
    } catch (error) {
      if (this.handle(error)) return;
      return this.reconnect(this.stream);
    }
    this.after(WATCH, () => this.watch());
  }

  async poll() {
    try {
      this.takeAttempt(await this.fetchAttempt());
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

async function fetchJson(url, signal = null) {
  const patience = AbortSignal.timeout(PATIENCE);
  const answer = await fetch(url, { headers: { Accept: "application/json" }, signal: signal ? AbortSignal.any([signal, patience]) : patience });
  if (answer.redirected || [401, 403, 404].includes(answer.status)) throw new GoneError(`answered with ${answer.status}`);
  if (!answer.ok) throw new Error(`answered with ${answer.status}`);
  return answer.json();
}
