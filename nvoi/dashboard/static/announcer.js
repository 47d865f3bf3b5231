// Says to a screen reader what matters of a log: steps, errors and the end, a few at a time.

import { cleanText } from "./ansi.js";

const PAUSE = 2500;
const MOST_SENTENCES = 3;
const MOST_CHARACTERS = 240;

export class Announcer {
  constructor(element) {
    this.element = element;
    this.waiting = [];
    this.timer = null;
  }

  sayLines(lines) {
    for (const line of lines) {
      if (line.level === "step") this.say(`Step: ${cleanText(line.message)}`);
      if (line.level === "error") this.say(`Error: ${cleanText(line.message)}`);
    }
  }

  say(text) {
    // Of many, the newest tell where it stands.
    this.waiting = [...this.waiting, text].slice(-MOST_SENTENCES);
    this.timer ??= setTimeout(() => this.speak(), PAUSE / 10);
  }

  speak() {
    const text = this.waiting.splice(0).join(". ");
    this.element.textContent = text.slice(0, MOST_CHARACTERS);
    this.timer = setTimeout(() => {
      this.timer = null;
      if (this.waiting.length) this.speak();
    }, PAUSE);
  }
}
