// Messages in the document: nothing in them is ever taken for markup.

import { parseRuns } from "./ansi.js";

// A row's links, and what is marked of it, at most: a message may be a megabyte of either.
const MOST_PIECES = 500;
const URLS = /https?:\/\/[^\s<>"'`\\{}|^]+/gi;

// Puts a message into an element: colours as classes, web addresses as links, what `query`
// finds marked.
export function appendMessage(element, message, query) {
  const runs = parseRuns(message);
  const text = runs.map((run) => run.text).join("");
  const cuts = [...findLinks(text), ...findMarks(text, query)].sort((one, other) => one.at - other.at || other.end - one.end);
  if (cuts.length === 0 && runs.length === 1 && !runs[0].classes) {
    element.textContent = text;
    return;
  }
  new Writer(element, runs, text).write(cuts);
}

// Writes a text whose runs, links and marks begin and end where they like.
class Writer {
  constructor(element, runs, text) {
    Object.assign(this, { element, runs, text });
    this.at = 0;
    this.run = 0;
    this.runEnd = runs[0]?.text.length ?? 0;
  }

  write(cuts) {
    const links = cuts.filter((cut) => cut.url);
    const marks = cuts.filter((cut) => !cut.url);
    for (const link of links) {
      this.writeMarked(this.element, marks, link.at);
      const anchor = document.createElement("a");
      anchor.href = link.url;
      anchor.rel = "noopener noreferrer nofollow";
      this.writeMarked(anchor, marks, link.end);
      this.element.append(anchor);
    }
    this.writeMarked(this.element, marks, this.text.length);
  }

  writeMarked(parent, marks, end) {
    while (marks.length && marks[0].at < end) {
      this.writeRuns(parent, marks[0].at);
      const mark = document.createElement("mark");
      this.writeRuns(mark, Math.min(marks[0].end, end));
      parent.append(mark);
      if (marks[0].end > end) break;
      marks.shift();
    }
    this.writeRuns(parent, end);
  }

  writeRuns(parent, end) {
    while (this.at < end) {
      while (this.at >= this.runEnd) this.runEnd += this.runs[++this.run].text.length;
      const stop = Math.min(end, this.runEnd);
      const { classes } = this.runs[this.run];
      const part = this.text.slice(this.at, stop);
      if (classes) {
        const span = document.createElement("span");
        span.className = classes;
        span.textContent = part;
        parent.append(span);
      } else {
        parent.append(part);
      }
      this.at = stop;
    }
  }
}

function findLinks(text) {
  const found = [];
  for (const match of text.matchAll(URLS)) {
    if (found.length >= MOST_PIECES) break;
    const url = trimUrl(match[0]);
    if (isWebUrl(url)) found.push({ at: match.index, end: match.index + url.length, url });
  }
  return found;
}

// `query` is in lower case.
function findMarks(text, query) {
  if (!query) return [];
  const lower = text.toLowerCase();
  // Some characters have a lower case of another length: then the places would be wrong.
  const searchable = lower.length === text.length ? lower : text;
  const found = [];
  for (let at = searchable.indexOf(query); at >= 0 && found.length < MOST_PIECES; at = searchable.indexOf(query, at + query.length)) {
    found.push({ at, end: at + query.length });
  }
  return found;
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
