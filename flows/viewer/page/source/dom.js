// Elements of the page. Names of layers and columns are set as text, never as markup.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const at = (id) => document.getElementById(id);
export const number = (value) => value.toLocaleString("en-US");

export function say(text) {
  at("said").textContent = text;
}

/** Runs what may fail, and shows the one sentence that says why. */
export async function trying(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message);
    return undefined;
  }
}
