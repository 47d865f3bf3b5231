// Says how the page is connected, where that is worth saying.

const WORDS = {
  reconnecting: "Reconnecting…",
  gone: "This page can no longer be updated: you are signed out, or it was deleted. ",
};

export class ConnectionNote {
  constructor(element) {
    this.element = element;
    this.state = "";
  }

  show(state) {
    if (state === this.state) return;
    this.state = state;
    const words = WORDS[state];
    this.element.hidden = !words;
    this.element.replaceChildren(words ?? "");
    document.documentElement.dataset.connection = state;
    if (state !== "gone") return;
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = "Load it again";
    // An address that names a line would lead there, on this same page.
    link.addEventListener("click", (event) => {
      event.preventDefault();
      location.reload();
    });
    this.element.append(link);
  }
}
