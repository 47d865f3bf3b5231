// Keys of one letter, and the help for them. They can be turned off (WCAG 2.2, 2.1.4).

import { recall, remember } from "./settings.js";

export function listenToKeys(dialog, actions) {
  const checkbox = dialog.querySelector("input");
  checkbox.checked = recall("keys", "on") !== "off";
  checkbox.addEventListener("change", () => remember("keys", checkbox.checked ? "on" : "off"));
  // A click beside the dialog is a click on its backdrop.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input:not([type=radio], [type=checkbox]), textarea, select");
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || dialog.open) return;
    if (event.key === "Escape" ? !actions.Escape : writing || !checkbox.checked) return;
    const act = actions[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
