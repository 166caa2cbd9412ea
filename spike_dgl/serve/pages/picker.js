// Search box for users or items: the combobox pattern of the ARIA authoring practices.

import { Asker } from "./ask.js";
import { build, count, named } from "./build.js";

const PAUSE = 120; // milliseconds between the last key and the request
const SHOWN = 12;

export class Picker {
  #asker = new Asker();
  #timer = 0;
  #active = -1;
  #shownFor = null;

  constructor(container, { chosen, failed }) {
    this.kind = container.dataset.kind;
    this.chosen = chosen;
    this.failed = failed;
    this.input = container.querySelector("input");
    const id = `${this.input.id}-options`;
    this.list = build("ul", { role: "listbox", id, class: "options", hidden: true, "aria-label": this.kind });
    container.append(this.list);
    for (const [key, value] of Object.entries({
      role: "combobox", autocomplete: "off", spellcheck: "false", maxlength: 300,
      "aria-autocomplete": "list", "aria-controls": id, "aria-expanded": "false",
    })) this.input.setAttribute(key, value);
    this.input.addEventListener("input", () => this.#searchSoon());
    this.input.addEventListener("click", () => this.list.hidden && this.#search());
    this.input.addEventListener("blur", () => this.#close());
    this.input.addEventListener("keydown", (event) => this.#key(event));
  }

  #searchSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(), PAUSE);
  }

  async #search() {
    clearTimeout(this.#timer);
    const query = this.input.value;
    try {
      const found = await this.#asker.get(this.kind, { query, limit: SHOWN });
      if (document.activeElement !== this.input) return;
      this.#shownFor = query;
      this.#show(found);
    } catch (error) {
      this.failed(error);
    }
  }

  #show({ matches, total }) {
    this.#active = -1;
    this.list.replaceChildren(...matches.map((match, place) => this.#option(match, place)));
    if (total === 0) this.list.append(build("li", { class: "note" }, "No match."));
    if (total > matches.length) {
      this.list.append(build("li", { class: "note" }, `and ${count(total - matches.length, "other")}`));
    }
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.input.removeAttribute("aria-activedescendant");
  }

  #option(match, place) {
    const take = (event) => {
      event.preventDefault(); // keep the focus in the box
      this.#choose(match);
    };
    const option = build("li", { role: "option", id: `${this.list.id}-${place}`, mousedown: take }, named(match.name));
    if (match.id !== match.name) option.append(build("small", {}, match.id));
    option.choose = () => this.#choose(match);
    return option;
  }

  #choose(match) {
    this.#close();
    this.input.value = "";
    this.chosen(match);
  }

  #close() {
    clearTimeout(this.#timer);
    this.#asker.cancel();
    this.#shownFor = null;
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    if (event.key === "Escape") {
      this.#close();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#enter();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) this.#search();
      else this.#move(event.key === "ArrowDown" ? 1 : -1);
    }
  }

  // If Enter is pressed before the response arrives, search for what was typed, not for what is still shown.
  async #enter() {
    if (this.#shownFor !== this.input.value) await this.#search();
    const options = this.list.querySelectorAll("[role=option]");
    if (!this.list.hidden && options.length) options[Math.max(this.#active, 0)].choose();
  }

  #move(step) {
    const options = [...this.list.querySelectorAll("[role=option]")];
    if (!options.length) return;
    this.#active = (this.#active + step + options.length) % options.length;
    options.forEach((option, place) => option.setAttribute("aria-selected", place === this.#active));
    this.input.setAttribute("aria-activedescendant", options[this.#active].id);
    options[this.#active].scrollIntoView({ block: "nearest" });
  }
}
