"""How texts stand out from what is behind them (WCAG 2.2, 1.4.3), as a script for a page."""

from __future__ import annotations

from tests.integration.dashboard.browser import Browser

CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const paint = (colours) => {
  for (const colour of colours) {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
  }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const luminance = (colour) => {
  const [r, g, b] = colour.map((part) => part / 255).map((part) =>
    part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const found = {};
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !element.checkVisibility() || element.closest(".hidden, .skip")) continue;
  const grounds = [];
  for (let at = element; at; at = at.parentElement) {
    grounds.unshift(getComputedStyle(at).backgroundColor);
  }
  const ground = paint(grounds);
  const ink = paint([...grounds, getComputedStyle(element).color]);
  const [light, dark] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
  found[`${element.tagName}.${element.className}`] = (light + 0.05) / (dark + 0.05);
}
return found;
"""


def find_weak_texts(page: Browser) -> list[str]:
    """The elements whose texts stand out too little, by day or by night."""
    weak: list[str] = []
    for scheme in ("light", "dark"):
        page.prefer_colours(scheme)
        page.wait_for(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
        weak += [name for name, ratio in page.run(CONTRASTS).items() if ratio < 4.5]
    return weak
