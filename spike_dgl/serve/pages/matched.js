// Words of a text that match an item: in its own text, and in its entities.

import { build, named } from "./build.js";

export function matched({ words, snippet, entities }) {
  if (!words.length && !entities.length)
    return build("span", { class: "match" }, "No word of the text matches; ranked by the model alone.");
  return build("span", { class: "match" },
    words.length ? build("q", { dir: "auto" }, marked(snippet, words)) : null,
    entities.map(({ relation, name, words: found }) => build("span", { class: "matched-entity" },
      build("span", {}, `${relation} `), named(name), found.length ? build("small", {}, ` ${found.join(", ")}`) : null)));
}

export const likedInText = (items) => items?.length
  ? build("p", { class: "hint", id: "liked-in-text" }, "For someone who likes ", named(items.map(({ name }) => name).join(", ")))
  : null;

export const unknownWords = (words) => words?.length
  ? build("p", { class: "hint", id: "unknown-words" }, "Not found in any profile: ", named(words.join(", ")))
  : null;

// The snippet with the words in <mark>. The words come from it, so that they are compared as they are.
function marked(snippet, words) {
  const parts = snippet.split(/([\p{L}\p{M}\p{N}_]+)/u);
  return parts.map((part) => (words.includes(part) ? build("mark", {}, part) : part));
}
