// Messages as text: nothing in them is ever taken for markup.

// As formats.clean_text has them: CSI, OSC and short escapes of ECMA-48.
const ANSI = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\^_`-~]/g;
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/g;
// A row's links, and what is marked of it, at most: a message may be a megabyte of either.
const MOST_PIECES = 500;
const URLS = /https?:\/\/[^\s<>"'`\\{}|^]+/gi;

// Without ANSI sequences, other control characters as their visible pictures.
export function cleanText(text) {
  return text
    .replace(/\r\n/g, "\n")
    .replace(ANSI, "")
    .replace(CONTROL, (character) => (character === "\x7f" ? "\u2421" : String.fromCharCode(0x2400 + character.charCodeAt(0))));
}

// Puts a clean text into an element: web addresses as links, what `query` finds marked.
export function appendText(element, text, query) {
  let end = 0;
  for (const match of text.matchAll(URLS)) {
    if (element.childNodes.length >= MOST_PIECES) break;
    const url = trimUrl(match[0]);
    if (!isWebUrl(url)) continue;
    appendMarked(element, text.slice(end, match.index), query);
    const link = document.createElement("a");
    link.href = url;
    link.rel = "noopener noreferrer nofollow";
    appendMarked(link, url, query);
    element.append(link);
    end = match.index + url.length;
  }
  appendMarked(element, text.slice(end), query);
}

// `query` is in lower case.
function appendMarked(element, text, query) {
  if (!query) {
    if (text) element.append(text);
    return;
  }
  const lower = text.toLowerCase();
  // Some characters have a lower case of another length: then the places would be wrong.
  const searchable = lower.length === text.length ? lower : text;
  let end = 0;
  for (let at = searchable.indexOf(query); at >= 0; at = searchable.indexOf(query, end)) {
    if (element.childNodes.length >= MOST_PIECES) break;
    if (at > end) element.append(text.slice(end, at));
    const mark = document.createElement("mark");
    mark.textContent = text.slice(at, at + query.length);
    element.append(mark);
    end = at + query.length;
  }
  if (end < text.length) element.append(text.slice(end));
}

function isWebUrl(text) {
  try {
    const url = new URL(text);
    return (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "";
  } catch {
    return false;
  }
}

// Without the punctuation of the sentence around it, and a bracket it did not open.
function trimUrl(url) {
  // Counted once: a message may be a megabyte of brackets.
  const count = (character) => url.split(character).length;
  const unopened = { ")": count(")") - count("("), "]": count("]") - count("[") };
  let end = url.length;
  while (end && (".,:;!?*".includes(url[end - 1]) || unopened[url[end - 1]] > 0)) {
    if (url[end - 1] in unopened) unopened[url[end - 1]] -= 1;
    end -= 1;
  }
  return url.slice(0, end);
}
