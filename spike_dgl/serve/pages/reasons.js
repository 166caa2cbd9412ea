// Explanation of an item: the parts of its score, and the paths to it.

import { bar, build, count, named } from "./build.js";

const signed = (number) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(2)}`;

export function reasons(explanation) {
  const { score, parts, paths, num_paths: total } = explanation;
  return [
    build("p", { class: "score-line" }, build("span", {}, "Score "), build("strong", {}, score.toFixed(2))),
    scoreParts(parts),
    build("h3", {}, paths.length ? "Paths to this item" : "No path to this item"),
    build("p", { class: "hint" }, paths.length
      ? `${paths.length} of ${count(total, "path")}: those with different nodes whose removal from the graph lowers the score most.`
      : explanation.over === "facts" ? "No facts link it to the history." : "The score comes only from the embeddings of the user and the item."),
    build("ol", { class: "paths" }, paths.map((path) => onePath(path, paths[0].fidelity.drop))),
  ];
}

const PARTS = [
  ["id", "ID", "score of the ID embeddings alone"],
  ["graph", "Graph", "change of the score by message passing on the graph"],
  ["profile", "Profiles", "change of the score by injecting profiles"],
  ["linear", "Linear term", "score of the linear item-item term, which is not part of the model"],
  ["popularity", "Popularity term", "score of the popularity term, which is not part of the model"],
];

function scoreParts(parts) {
  const shown = PARTS.filter(([key]) => parts[key] != null);
  const largest = Math.max(...shown.map(([key]) => Math.abs(parts[key]))) || 1;
  return build("dl", { class: "parts" }, shown.map(([key, label, meaning]) => build("div", { title: meaning },
    build("dt", {}, label),
    build("dd", {}, bar(Math.abs(parts[key]) / largest, parts[key] < 0 ? "negative" : ""), build("span", {}, signed(parts[key]))))));
}

function onePath(path, largest) {
  const { fidelity } = path;
  const profiles = path.nodes.slice(1, -1).filter((node) => node.profile);
  return build("li", {},
    build("p", { class: "chain" }, path.nodes.flatMap((node, place) => [
      place ? relation(path.links[place - 1]) : null,
      build("span", { class: `node ${node.kind}` }, label(node)),
    ])),
    build("p", { class: "drop" },
      largest > 0 ? bar(fidelity.drop / largest) : null,
      build("span", {}, `${signed(-fidelity.drop)} without it`),
      fidelity.random_paths
        ? build("small", {}, `; ${signed(-fidelity.random_drop)} without a random path of the same length (mean of ${fidelity.random_paths})`)
        : null),
    build("details", {},
      build("summary", {}, "Attention and profiles"),
      attention(path),
      build("dl", { class: "profiles" }, profiles.map((node) => [
        build("dt", {}, named(node.name)), build("dd", {}, named(node.profile))]).flat())));
}

const label = ({ kind, name }) => [kind === "user" ? "user " : null, named(name)];

// The arrow shows the direction of the fact, from head to tail.
const relation = ({ relation: name, forward }) =>
  build("span", { class: "relation" }, forward ? "" : "← ", named(name), forward ? " →" : "");

function attention({ nodes, links }) {
  const heads = links[0].attention.map((_, head) => build("th", { scope: "col" }, `head ${head + 1}`));
  const rows = links.map((link, place) => {
    const ends = [nodes[place], nodes[place + 1]];
    const [to, from] = link.towards === "user" ? ends : ends.reverse();
    const change = (head) => link.attention[head] - link.attention_without_profiles[head];
    return build("tr", {},
      build("td", {}, String(link.hop)),
      build("th", { scope: "row" }, [...label(from), " → ", ...label(to)]),
      link.attention.map((weight, head) => build("td", {}, weight.toFixed(3),
        change(head) ? build("small", {}, ` ${change(head) < 0 ? "−" : "+"}${Math.abs(change(head)).toFixed(3)}`) : null)));
  });
  return build("table", {},
    build("caption", {}, "Attention weight of each message; in small type, the change that profiles make."),
    build("thead", {}, build("tr", {}, build("th", { scope: "col" }, "hop"), build("th", { scope: "col" }, "message"), heads)),
    build("tbody", {}, rows));
}
