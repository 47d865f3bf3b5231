// Keys of one letter. They can be turned off (WCAG 2.2, 2.1.4), which the browser remembers.

const REMEMBERED = "nvoi-keys";

export function listenToKeys(element, actions) {
  const checkbox = element.querySelector("input");
  checkbox.checked = recall() !== "off";
  checkbox.addEventListener("change", () => remember(checkbox.checked ? "on" : "off"));
  element.hidden = false;
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input:not([type=radio], [type=checkbox]), textarea, select");
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" ? !actions.Escape : writing || !checkbox.checked) return;
    const act = actions[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

// A browser may refuse storage altogether.
function recall() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}

function remember(value) {
  try {
    localStorage.setItem(REMEMBERED, value);
  } catch {
    // It holds for this page then.
  }
}
