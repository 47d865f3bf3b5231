// Texts for the clipboard.

// Copies, and says on the button whether it worked.
export async function copyText(text, button) {
  const done = await tryToCopy(text);
  button.label ??= button.textContent;
  button.textContent = done ? "Copied" : "Not copied";
  clearTimeout(button.timer);
  button.timer = setTimeout(() => (button.textContent = button.label), 1500);
  return done;
}

// Commands of the page that can be copied: a button before each.
export function offerCopies(root) {
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copyText(button.dataset.copy, button));
  }
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
