// Keeps the newest line in view until the reader scrolls up.

// How near the end of the page counts as its end, in pixels.
const NEAR = 24;
const UPWARDS = new Set(["ArrowUp", "PageUp", "Home"]);

export class AutoScroll {
  constructor(element, button) {
    this.button = button;
    this.on = false;
    this.offered = false;
    this.held = false;
    this.last = window.scrollY;
    // Whatever makes the log longer, also rows that turn out to be higher than guessed.
    new ResizeObserver(() => this.on && this.scroll()).observe(element);
    document.addEventListener("scroll", () => this.notice(), { passive: true });
    // Where lines come in every frame, the first pixels of a way up would be undone at once.
    document.addEventListener("wheel", (event) => event.deltaY < 0 && this.stop(), { passive: true });
    document.addEventListener("keydown", (event) => UPWARDS.has(event.key) && event.target === document.body && this.stop());
    for (const kind of ["wheel", "touchmove", "keydown", "pointerdown"]) {
      document.addEventListener(kind, () => (this.held = false), { passive: true });
    }
    button.addEventListener("click", () => this.toggle());
  }

  toggle() {
    if (this.on) return this.stop();
    this.set(this.offered);
    if (this.on) this.scroll();
  }

  stop() {
    this.set(false);
  }

  // Stops for the sake of a place that the page itself goes to: reaching its end on the way
  // there is not what the reader asked for.
  hold() {
    this.stop();
    this.held = true;
  }

  // Whether there is anything to follow.
  offer(offered) {
    this.offered = offered;
    this.set(this.on && offered);
  }

  set(on) {
    this.on = on;
    this.button.hidden = !this.offered;
    this.button.setAttribute("aria-pressed", String(on));
  }

  scroll() {
    window.scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    this.last = window.scrollY;
  }

  notice() {
    const rest = document.documentElement.scrollHeight - window.innerHeight - window.scrollY;
    const up = window.scrollY < this.last;
    this.last = window.scrollY;
    // New lines make the rest longer without a scroll, and a fold makes it shorter with one:
    // only the way up ends it.
    if (up && rest > 1) this.set(false);
    else if (!up && rest <= NEAR && !this.held) this.set(this.offered);
  }
}
