// What a page says of a deploy beside its log. The server renders it; here it is fetched again
// when something of it has changed, with the window's title and icon.

import { localise, setClock } from "./times.js";

const PARTS = ["status", "app", "command", "commit_title", "commit_author", "dirty", "duration", "git_sha", "git_ref", "ci_provider", "ci_run_url", "error", "tunnels", "log_dropped", "superseded", "ended_at"];

export class Summary {
  constructor(element, attempt) {
    this.element = element;
    this.attempt = attempt;
    this.key = null;
    this.fetching = Promise.resolve();
    setClock(element.dataset.now);
    localise(element);
  }

  get status() {
    return this.element.dataset.status;
  }

  // Whatever was rendered holds for an attempt of which nothing was heard since, with no newer one.
  shows(attempt) {
    const { seen, superseded } = this.element.dataset;
    return attempt.status === this.status && attempt.last_seen_at === Number(seen) && attempt.superseded === (superseded !== undefined);
  }

  // Takes an attempt's data; fetches what is shown of it where that has become another.
  update(attempt) {
    const key = JSON.stringify(PARTS.map((part) => attempt[part]));
    const known = this.key ?? (this.shows(attempt) ? key : null);
    this.key = key;
    if (key === known) return this.fetching;
    this.fetching = this.fetching.then(() => this.fetch()).catch(() => (this.key = null));
    return this.fetching;
  }

  async fetch() {
    const query = new URLSearchParams({ attempt: this.attempt, part: "summary" });
    const answer = await fetch(`${location.pathname}?${query}`);
    if (!answer.ok || answer.redirected) throw new Error(`the summary was answered with ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = document.adoptNode(page.getElementById("summary"));
    const focused = this.element.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    this.element.replaceWith(fresh);
    this.element = fresh;
    document.getElementById("state").replaceWith(document.adoptNode(page.getElementById("state")));
    if (focused) [...fresh.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
    setClock(fresh.dataset.now);
    localise(document);
    showState(fresh.dataset.title, fresh.dataset.icon);
  }
}

// The window's title and icon: what a tab in the background tells.
export function showState(title, icon) {
  if (document.title !== title) document.title = title;
  const link = document.querySelector("link[rel=icon]");
  if (link.getAttribute("href") === icon) return;
  // Browsers look at the icon again only when the element is another.
  const fresh = link.cloneNode();
  fresh.setAttribute("href", icon);
  link.replaceWith(fresh);
}
