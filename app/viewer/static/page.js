/* What the page has around the image: the list of cines, the slices, keys, questions and the line of messages. */

const element = (id) => document.getElementById(id);

/** One line at the bottom, read out too; kind: "", "busy" or "wrong". */
export function say(text, kind = "") {
  element("status").textContent = text;
  element("status").className = kind;
}

let answered = Promise.resolve();

/** Ask before something is lost, one question after another. @returns whether the answer was yes. */
export function confirmed(text, yes) {
  answered = answered.then(() => question(text, yes));
  return answered;
}

function question(text, yes) {
  const dialog = element("question");
  element("question-text").textContent = text;
  element("question-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true });
  });
}

/** The cines by what tells them apart: what all their folders share is left out. */
export function listCines(cines, choose) {
  const parts = cines.map(({ name }) => name.split("/"));
  let shared = 0;
  while (parts.every((path) => path.length > shared + 1 && path[shared] === parts[0][shared])) shared++;
  const items = cines.map((cine, k) => {
    const item = document.createElement("li");
    const button = item.appendChild(document.createElement("button"));
    const [title, ...rest] = parts[k].slice(shared);
    button.appendChild(document.createElement("b")).textContent = title;
    if (rest.length) button.appendChild(document.createElement("span")).textContent = rest.join("/");
    button.title = cine.name;
    button.dataset.cine = cine.id;
    button.addEventListener("click", () => choose(cine.id, parts[k].slice(shared).join(" / ")));
    return item;
  });
  element("cines").replaceChildren(...items);
  element("find").addEventListener("input", ({ target }) => {
    items.forEach((item, k) => (item.hidden = !cines[k].name.toLowerCase().includes(target.value.toLowerCase())));
  });
}

/** The cines of a folder that holds several, below it. */
export function listChoices(id, choices, choose) {
  const button = document.querySelector(`[data-cine="${id}"]`);
  const list = document.createElement("ul");
  for (const choice of choices) {
    const one = list.appendChild(document.createElement("li")).appendChild(document.createElement("button"));
    one.appendChild(document.createElement("span")).textContent = choice.name;
    one.dataset.cine = choice.id;
    one.addEventListener("click", () => choose(choice));
  }
  button.parentElement.querySelector("ul")?.remove();
  button.after(list);
}

export function markChosen(id) {
  for (const button of document.querySelectorAll("[data-cine]")) {
    button.setAttribute("aria-current", String(button.dataset.cine === id));
  }
}

/** A button for each slice. */
export function listSlices(count, choose) {
  const buttons = Array.from({ length: count }, (_, slice) => {
    const button = document.createElement("button");
    button.textContent = slice;
    button.setAttribute("aria-label", `slice ${slice}`);
    button.addEventListener("click", () => choose(slice));
    return button;
  });
  const label = document.createElement("span");
  label.className = "note";
  label.textContent = "Slice";
  element("slices").replaceChildren(label, ...buttons);
}

export function markSlices(current, drawings) {
  document.querySelectorAll("#slices button").forEach((button, slice) => {
    button.setAttribute("aria-pressed", String(slice === current));
    button.classList.toggle("has-contour", drawings.has(slice));
    button.title = drawings.has(slice) ? "a contour is drawn here" : "";
  });
}

/** Call what a key means, unless it is typed into something that has a use for it. */
export function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const kind = target.tagName === "INPUT" ? target.type : target.tagName;
    // the slider of the frames goes round, and up and down are slices, as elsewhere
    const moves = ["range", "radio"].includes(kind) && target.id !== "frame";
    if (["search", "text"].includes(kind) || (moves && key.startsWith("Arrow"))) return;
    if (kind === "BUTTON" && key === " ") return;
    const action = actions[key.length === 1 ? key.toLowerCase() : key];
    if (action && action() !== false) event.preventDefault();
  });
  // after a click Space should play, not press the same button again
  document.addEventListener("click", (event) => event.detail && event.target.closest("button")?.blur());
}
