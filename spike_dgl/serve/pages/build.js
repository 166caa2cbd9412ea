// Elements from data. Text becomes text nodes and nothing is ever parsed as HTML, whatever a title holds.

export function build(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

// A name as the data spells it, in whichever direction its script is written.
export const named = (name, attributes = {}) => build("bdi", attributes, name);

// The width is set here, since the page's policy forbids style attributes.
export function bar(share, className = "") {
  const filled = build("span", { class: "filled" });
  filled.style.width = `${(100 * Math.min(Math.max(share, 0), 1)).toFixed(1)}%`;
  return build("span", { class: `bar ${className}`, "aria-hidden": "true" }, filled);
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
