// The log as text for the clipboard.

import { cleanText } from "./text.js";

const pad = "success".length;

// A line or a gap as log.txt has it.
export function formatEntry(line) {
  if (line.number === undefined) {
    const { first, last } = line;
    return `[${first === last ? `line ${first} was` : `lines ${first} to ${last} were`} never received]`;
  }
  const time = new Date(line.logged_at).toISOString();
  return `${time} ${line.level.padEnd(pad)} ${cleanText(line.message)}`;
}

// Copies, and says on the button whether it worked.
export async function copyText(text, button) {
  const done = await tryToCopy(text);
  button.textContent = done ? "Copied" : "Not copied";
  clearTimeout(button.timer);
  button.timer = setTimeout(() => (button.textContent = "Copy"), 1500);
  return done;
}

async function tryToCopy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelection(text);
  }
}

// For pages that are not served by https: there is no clipboard object there.
function copySelection(text) {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  document.body.append(area);
  area.focus({ preventScroll: true });
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused.focus({ preventScroll: true });
  return done;
}
