// Colours and styles of terminals (ECMA-48, 8.3.117, SGR) as classes. Nothing else of a terminal's
// commands has any effect, and nothing can hide a text: concealed text is shown, and on a
// coloured ground it has the colour that can be read there.

// As formats.clean_text has them: CSI, OSC and short escapes of ECMA-48.
const COMMAND = /\x1b\[([0-?]*)([ -/]*)([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\^_`-~]/g;
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/g;
// A message may be a megabyte of colours.
const MOST_RUNS = 2000;

const STYLES = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 9: "strike" };
const ENDS = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 29: ["strike"] };

// Without commands, other control characters as their visible pictures.
export function cleanText(text) {
  return picture(text.replace(/\r\n/g, "\n").replace(COMMAND, ""));
}

function picture(text) {
  return text.replace(CONTROL, (character) => (character === "\x7f" ? "\u2421" : String.fromCharCode(0x2400 + character.charCodeAt(0))));
}

// A message as runs of clean text, each with the classes of its style.
export function parseRuns(message) {
  if (!message.includes("\x1b")) return [{ text: cleanText(message), classes: "" }];
  const text = message.replace(/\r\n/g, "\n");
  const style = new Style();
  const runs = [];
  let end = 0;
  const add = (part) => {
    if (!part) return;
    const classes = runs.length < MOST_RUNS ? style.classes : "";
    if (runs.at(-1)?.classes === classes) runs.at(-1).text += picture(part);
    else runs.push({ text: picture(part), classes });
  };
  for (const match of text.matchAll(COMMAND)) {
    add(text.slice(end, match.index));
    end = match.index + match[0].length;
    if (match[3] === "m" && !match[2]) style.apply(match[1]);
  }
  add(text.slice(end));
  return runs;
}

class Style {
  constructor() {
    this.reset();
  }

  reset() {
    this.on = new Set();
    this.ink = null;
    this.ground = null;
    this.inverse = false;
  }

  get classes() {
    // Without colours of its own, an inverse text has the page's ground as its ink.
    const [ink, ground] = this.inverse ? [this.ground, this.ink ?? "plain"] : [this.ink, this.ground];
    const names = [...this.on].map((name) => `ansi-${name}`);
    if (ground !== null) names.push(`ansi-on-${ground}`);
    else if (ink !== null) names.push(`ansi-${ink}`);
    return names.join(" ");
  }

  apply(parameters) {
    const codes = parameters.split(/[;:]/).map(Number);
    while (codes.length) this.take(codes.shift(), codes);
  }

  take(code, rest) {
    if (code === 0) this.reset();
    else if (STYLES[code]) this.on.add(STYLES[code]);
    else if (ENDS[code]) for (const name of ENDS[code]) this.on.delete(name);
    else if (code === 7) this.inverse = true;
    else if (code === 27) this.inverse = false;
    else if (code === 38) this.ink = takeColour(rest) ?? this.ink;
    else if (code === 48) this.ground = takeColour(rest) ?? this.ground;
    else if (code === 39) this.ink = null;
    else if (code === 49) this.ground = null;
    else if (code >= 30 && code <= 37) this.ink = code - 30;
    else if (code >= 90 && code <= 97) this.ink = code - 82;
    else if (code >= 40 && code <= 47) this.ground = code - 40;
    else if (code >= 100 && code <= 107) this.ground = code - 92;
  }
}

// The colour after 38 or 48, as the nearest of the sixteen that can be read on the page.
function takeColour(rest) {
  const kind = rest.shift();
  if (kind === 5) return nearest(rest.shift());
  if (kind === 2) return match(...rest.splice(0, 3));
  return null;
}

function nearest(index) {
  if (!(index >= 0 && index <= 255)) return null;
  if (index < 16) return index;
  if (index >= 232) return match(...Array(3).fill(8 + 10 * (index - 232)));
  const level = (step) => (step ? 55 + 40 * step : 0);
  const cube = index - 16;
  return match(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6));
}

// By hue: a colour of the first eight, or its bright one.
function match(...parts) {
  if (parts.length < 3 || parts.some((part) => !(part >= 0 && part <= 255))) return null;
  const most = Math.max(...parts);
  if (most - Math.min(...parts) < 40) return most < 64 ? 0 : most < 160 ? 8 : most < 224 ? 7 : 15;
  const bits = parts.reduce((sum, part, index) => sum + (part > most * 0.6 ? 1 << index : 0), 0);
  return most > 200 ? bits + 8 : bits;
}
