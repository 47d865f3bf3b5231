// What a reader has chosen, kept in the browser.

// A browser may refuse storage altogether: then it holds for the page.
export function recall(name, otherwise) {
  try {
    return localStorage.getItem(`nvoi-${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`nvoi-${name}`, value);
  } catch {
    // It holds for this page then.
  }
}

// A button that is on or off, as it was when it was last used; calls onSwitch(on) now and then.
export function addSwitch(button, name, otherwise, onSwitch) {
  const set = (on) => {
    button.setAttribute("aria-pressed", String(on));
    onSwitch(on);
  };
  const toggle = () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    remember(name, on ? "on" : "off");
    set(on);
  };
  set(recall(name, otherwise) === "on");
  button.addEventListener("click", toggle);
  return toggle;
}
