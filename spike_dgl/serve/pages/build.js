// Build elements from data. Text becomes text nodes and is never parsed as HTML.

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

// A name from the data; <bdi> isolates its writing direction.
export const named = (name, attributes = {}) => build("bdi", attributes, name);

// The width is set by script, since the content security policy forbids style attributes.
export function bar(share, className = "") {
  const filled = build("span", { class: "filled" });
  filled.style.width = `${(100 * Math.min(Math.max(share, 0), 1)).toFixed(1)}%`;
  return build("span", { class: `bar ${className}`, "aria-hidden": "true" }, filled);
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
