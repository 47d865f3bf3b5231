// The log as text for the clipboard.

import { cleanText } from "./text.js";

const pad = "success".length;

// As log.txt has it.
export function formatLine(line) {
  const time = new Date(line.logged_at).toISOString();
  return `${time} ${line.level.padEnd(pad)} ${cleanText(line.message)}`;
}

// Copies, and says on the button whether it worked.
export async function copyText(text, button) {
  const label = button.textContent;
  const done = await tryToCopy(text);
  button.textContent = done ? "Copied" : "Not copied";
  setTimeout(() => (button.textContent = label), 1500);
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
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
