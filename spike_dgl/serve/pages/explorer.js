// The explorer: user, ranking list and explanation. The address holds the choice, so that it can be shared as a link.

import { Asker } from "./ask.js";
import { bar, build, count, named } from "./build.js";
import { likedInText, matched, unknownWords } from "./matched.js";
import { Picker } from "./picker.js";
import { reasons } from "./reasons.js";

const at = (id) => document.getElementById(id);
const asks = { run: new Asker(), history: new Asker(), ranking: new Asker(), reasons: new Asker(), similar: new Asker() };
const HISTORY_SHOWN = 12;
const names = new Map(); // item names by id

// The address: #user=ID, #items=ID&items=ID or #text=WORDS, and &item=ID for the item that is explained.

function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  return {
    user: parameters.get("user"),
    items: parameters.getAll("items"),
    text: parameters.get("text"),
    item: parameters.get("item"),
  };
}

function go({ user, items = [], text, item }) {
  const parameters = new URLSearchParams();
  if (user != null) parameters.set("user", user);
  for (const id of items) parameters.append("items", id);
  if (text != null) parameters.set("text", text);
  if (item != null) parameters.set("item", item);
  location.hash = parameters.toString();
}

const listKey = ({ user, items, text }) => JSON.stringify([user, items, text]);
let shown = {};

function follow() {
  const wanted = readAddress();
  const sameList = shown.list === listKey(wanted);
  shown = { list: listKey(wanted), item: wanted.item };
  if (!sameList) showSelection(wanted);
  mark(wanted.item);
  showItem(wanted);
}

// User

function showSelection(wanted) {
  openTab(wanted.user != null ? "user" : wanted.items.length ? "items" : wanted.text != null ? "text" : openedTab());
  at("taste").value = wanted.text ?? at("taste").value;
  showHistory(wanted.user);
  showLiked(wanted.items);
  showRanking(wanted);
}

const tabs = [...document.querySelectorAll("[role=tab]")];
const openedTab = () => tabs.find((tab) => tab.getAttribute("aria-selected") === "true").id.slice("tab-".length);

function openTab(name) {
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    at(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
}

function tabKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
  openTab(next.id.slice("tab-".length));
  next.focus();
}

async function showHistory(user) {
  const place = at("history");
  if (user == null) {
    asks.history.cancel();
    place.replaceChildren(build("p", { class: "hint" }, "Choose a user to see their history and recommendations."));
    return;
  }
  await fill(place, async () => {
    const history = await asks.history.get("history", { user, limit: 500 });
    const items = history.items.map((item) => build("li", {}, named(item.name)));
    const rest = items.slice(HISTORY_SHOWN);
    const more = build("button", { class: "link", click: () => { rest.forEach((item) => { item.hidden = false; }); more.remove(); } },
      `and ${count(history.total - HISTORY_SHOWN, "other")}`);
    rest.forEach((item) => { item.hidden = true; });
    return [
      build("h3", {}, "User ", named(history.user.name)),
      build("p", { class: "hint" }, items.length ? `${count(history.total, "seen item")}:` : "This user has no interactions: the list shows the most popular items."),
      build("ul", { class: "chips" }, items),
      rest.length ? more : null,
    ];
  });
}

async function showLiked(ids) {
  const all = await Promise.all(ids.map(nameOf));
  if (listKey(readAddress()) !== shown.list) return; // the choice has changed meanwhile
  at("liked").replaceChildren(...ids.map((id, place) => {
    const rest = ids.filter((other) => other !== id);
    const remove = () => go({ items: rest });
    return build("li", {}, named(all[place]), build("button", { class: "remove", "aria-label": `Remove ${all[place]}`, click: remove }, "×"));
  }));
}

async function nameOf(id) {
  if (!names.has(id)) {
    const { matches } = await new Asker().get("items", { query: id, limit: 100 }).catch(() => ({ matches: [] }));
    names.set(id, matches.find((match) => match.id === id)?.name ?? id);
  }
  return names.get(id);
}

// Ranking list

async function showRanking(wanted) {
  const place = at("ranking");
  at("seen-setting").hidden = wanted.user == null;
  if (wanted.user == null && !wanted.items.length && wanted.text == null) {
    asks.ranking.cancel();
    place.replaceChildren(build("p", { class: "empty" }, "The list appears here."));
    return;
  }
  await fill(place, async () => {
    const { items, liked, unknown_words: unknown } = await askRanking(wanted);
    if (!items.length) return [build("p", { class: "empty" }, "No items left to recommend.")];
    const best = items[0].score;
    for (const item of items) names.set(item.id, item.name);
    const rows = items.map((item) => build("li", {},
      build("button", { "data-item": item.id, click: () => go({ ...readAddress(), item: item.id }) },
        build("span", { class: "name" }, named(item.name)),
        build("span", { class: "score", title: "score" }, item.score.toFixed(2)),
        best > 0 ? bar(item.score / best) : null,
        item.match ? matched(item.match) : null)));
    return [likedInText(liked), unknownWords(unknown), build("ol", { class: "ranking" }, rows)];
  });
  mark(readAddress().item);
}

function askRanking({ user, items, text }) {
  const k = Number(at("length").value);
  if (user != null) return asks.ranking.get("recommendations", { user, k, exclude_seen: !at("with-seen").checked });
  if (items.length) return asks.ranking.post("recommendations/from-items", { items, k });
  return asks.ranking.post("recommendations/from-text", { text, k });
}

function mark(item) {
  for (const button of document.querySelectorAll("[data-item]")) {
    if (button.dataset.item === item) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

// Explanation

async function showItem({ user, item }) {
  const place = at("reasons");
  at("facts-setting").hidden = item == null || user == null;
  if (item == null) {
    asks.reasons.cancel();
    asks.similar.cancel();
    place.replaceChildren(build("p", { class: "empty" }, "Choose an item of the list to see why it is recommended."));
    return;
  }
  const title = build("h3", { class: "item" });
  const [why, like] = [build("div"), build("div")];
  place.replaceChildren(title, why, like);
  nameOf(item).then((name) => title.replaceChildren(named(name)));
  fill(why, async () => user == null
    ? [build("p", { class: "hint" }, "Only users of the data have paths, and this user is new.")]
    : reasons(await asks.reasons.get("explanations", { user, item, over: at("facts-only").checked ? "facts" : "all" })));
  fill(like, async () => {
    const { items } = await asks.similar.get("similar-items", { item, k: 6 });
    for (const other of items) names.set(other.id, other.name);
    const buttons = items.map((other) => build("li", {},
      build("button", { class: "link", click: () => go({ ...readAddress(), item: other.id }) }, named(other.name))));
    return [build("h3", {}, "Similar items"), build("ul", { class: "similar" }, buttons)];
  });
}

// Fill a place with what `make` returns, or with its error. Until then the old content stays, dimmed.
async function fill(place, make) {
  place.setAttribute("aria-busy", "true");
  try {
    place.replaceChildren(...(await make()).filter((part) => part != null));
  } catch (error) {
    if (error.name === "AbortError") return; // a newer call fills it
    place.replaceChildren(build("p", { class: "trouble" }, error.message));
  }
  place.removeAttribute("aria-busy");
}

// Events

for (const tab of tabs) {
  tab.addEventListener("click", () => openTab(tab.id.slice("tab-".length)));
  tab.addEventListener("keydown", tabKey);
}
const failed = (error) => {
  if (error.name === "AbortError") return;
  at("trouble").textContent = error.message;
  at("trouble").hidden = false;
};
const CHOSEN = {
  users: ({ id }) => go({ user: id }),
  items: ({ id, name }) => {
    names.set(id, name);
    go({ items: [...new Set([...readAddress().items, id])] });
  },
};
for (const picker of document.querySelectorAll(".picker")) {
  new Picker(picker, { chosen: CHOSEN[picker.dataset.kind], failed });
}
at("panel-text").addEventListener("submit", (event) => {
  event.preventDefault();
  go({ text: at("taste").value });
});
at("facts-only").addEventListener("change", () => showItem(readAddress()));
for (const id of ["length", "with-seen"]) at(id).addEventListener("change", () => showRanking(readAddress()));
addEventListener("hashchange", follow);

asks.run.get("run").then((run) => {
  at("run").textContent = `${run.model} on ${run.data}: ${count(run.num_users, "user")}, ${count(run.num_items, "item")}`;
  document.title = `${run.name}: spike_dgl explorer`;
}, failed);
follow();
