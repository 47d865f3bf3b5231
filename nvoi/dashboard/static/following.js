// Keeps the newest line in view until the reader scrolls up.

// How near the end of the page counts as its end, in pixels.
const NEAR = 24;

export class Following {
  constructor(element, button) {
    this.button = button;
    this.on = false;
    this.offered = false;
    this.last = 0;
    this.last = window.scrollY;
    // Whatever makes the log longer, also rows that turn out to be higher than guessed.
    new ResizeObserver(() => this.on && this.scroll()).observe(element);
    document.addEventListener("scroll", () => this.notice(), { passive: true });
    button.addEventListener("click", () => this.start());
  }

  start() {
    this.set(true);
    this.scroll();
  }

  stop() {
    this.set(false);
  }

  // Whether there is anything to follow.
  offer(offered) {
    this.offered = offered;
    this.set(this.on && offered);
  }

  set(on) {
    this.on = on;
    this.button.hidden = on || !this.offered;
  }

  scroll() {
    window.scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    this.last = window.scrollY;
  }

  notice() {
    const rest = document.documentElement.scrollHeight - window.innerHeight - window.scrollY;
    if (rest <= NEAR) this.set(this.offered);
    // New lines make the rest longer without a scroll: only the way up ends it.
    else if (this.on && window.scrollY < this.last) this.set(false);
    this.last = window.scrollY;
  }
}
