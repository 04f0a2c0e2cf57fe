/* Buttons that say why they cannot do what they are for. */

import { say } from "./page.js";

/** reasons(): why each button, by id, cannot act now, null where it can; null of all while no cine is open. */
export function buttons(reasons) {
  const titles = new Map();
  const all = [...document.querySelectorAll("main button[id], aside button[id]")].filter(({ id }) => id !== "help-open");
  for (const button of all) titles.set(button, button.title);
  const why = (id) => {
    const found = reasons();
    return found ? found[id] ?? null : "Choose a cine first.";
  };

  function enable() {
    const found = reasons();
    for (const button of all) {
      const reason = found ? found[button.id] : "Choose a cine first.";
      button.setAttribute("aria-disabled", String(Boolean(reason)));
      button.title = reason || titles.get(button);
    }
    for (const id of ["frame", "papillary"]) document.getElementById(id).disabled = !found;
  }

  /** Do it, or say why not. */
  function act(id, action) {
    const reason = why(id);
    if (reason) say(reason, "wrong");
    else action();
  }

  return { enable, act };
}
