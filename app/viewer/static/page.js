/* What the page has around the image: the list of cines, the study, keys, questions and the line of messages. */

const element = (id) => document.getElementById(id);

/** One line at the bottom, read out too; kind: "", "busy" or "wrong"; link: {text, to} at its end. */
export function say(text, kind = "", link = null) {
  element("status").textContent = text;
  if (link) {
    const anchor = document.createElement("a");
    Object.assign(anchor, { href: link.to, target: "_blank", textContent: link.text });
    element("status").append(" ", anchor);
  }
  element("status").title = text; // of a long one the line shows the beginning
  element("status").className = kind;
}

/** Have the browser save a file. */
export function keepFile({ name, content }) {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(content);
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000); // it may ask the reader first where to
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

/** The cines by what tells them apart: what all their folders share is left out; those of one study together.
    @returns what chooses each. */
export function listCines(cines, choose) {
  const parts = cines.map(({ name }) => name.split("/"));
  let shared = 0;
  while (parts.every((path) => path.length > shared + 1 && path[shared] === parts[0][shared])) shared++;
  const studies = Map.groupBy(cines.map((cine, k) => ({ ...cine, path: parts[k].slice(shared) })), ({ study }) => study);
  const groups = [...studies.values()].map(listStudy);
  element("cines").replaceChildren(...groups.map(({ item }) => item));
  const chosen = groups.flatMap(({ entries }) => entries).map(({ cine, button }) => {
    const choice = () => choose(cine.id, cine.path.join(" / "));
    button.addEventListener("click", choice);
    return choice;
  });
  element("find").addEventListener("input", ({ target }) => {
    for (const { item, entries } of groups) {
      const hits = entries.filter(({ cine, entry }) => {
        entry.hidden = !cine.name.toLowerCase().includes(target.value.toLowerCase());
        return !entry.hidden;
      });
      item.hidden = !hits.length;
    }
  });
  return chosen;
}

/** A cine alone, or several of one study below its folder's name. */
function listStudy(cines) {
  if (cines.length === 1) {
    const item = document.createElement("li");
    return { item, entries: [{ cine: cines[0], entry: item, button: cineButton(item, cines[0], cines[0].path) }] };
  }
  let shared = 0;
  while (cines.every(({ path }) => path.length > shared && path[shared] === cines[0].path[shared])) shared++;
  const item = document.createElement("li");
  item.className = "study";
  const title = item.appendChild(document.createElement("b"));
  title.textContent = shared ? cines[0].path.slice(0, shared).join(" / ") : "one study";
  const list = item.appendChild(document.createElement("ul"));
  const entries = cines.map((cine) => {
    const entry = list.appendChild(document.createElement("li"));
    const rest = cine.path.slice(shared); // none of the folder itself, whose slices may have folders of their own
    return { cine, entry, button: cineButton(entry, cine, rest.length ? rest : ["whole folder"]) };
  });
  return { item, entries };
}

function cineButton(item, cine, [title, ...rest]) {
  const button = item.appendChild(document.createElement("button"));
  button.appendChild(document.createElement("b")).textContent = title;
  if (rest.length) button.appendChild(document.createElement("span")).textContent = rest.join("/");
  button.title = cine.name;
  button.dataset.cine = cine.id;
  return button;
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

/** What is known of the patient and the examination, in the corner of the image; the name can be hidden. */
export function showStudy({ study, view }) {
  const { name, id, sex, age, date, heart_rate: rate, heart_rate_from: source, series } = study;
  const years = age === null ? null : `${Math.round(age)} y`;
  const beats = rate === null ? null : `${Math.round(rate)} / min`;
  const lines = [
    ["name", [...new Set([name, id])].filter(Boolean).join(" · ")],
    ["", [sex, years, date, beats].filter(Boolean).join(" · ")],
    ["", [series, view].filter(Boolean).join(" · ")],
  ];
  element("study").replaceChildren(...lines.filter(([, text]) => text).map(([kind, text]) => {
    const line = document.createElement("div");
    line.className = kind;
    line.textContent = text;
    return line;
  }));
  element("study").title = beats ? `heart rate by ${source}` : "";
}

/** Show that something is on or off. */
export function toggle(id, on) {
  element(id).setAttribute("aria-pressed", String(on));
}

/** A time, as ISO 8601 has it, to the minute and of this place. */
export function when(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? "an unknown time" : date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

/** Whether the server has all that was done: "kept", "unsaved" or "" where nothing was. */
export function showKept(state) {
  const texts = { kept: "✓ kept", unsaved: "… keeping", "": "" };
  element("kept").textContent = texts[state];
  element("kept").dataset.state = state;
}

/** Call what a key means, alone, with Shift or with Control (Command), unless it is typed into something that has a use
    for it. */
export function onKeys(actions, shifted, controlled) {
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.altKey || document.querySelector("dialog[open]")) return;
    if (event.ctrlKey || event.metaKey) {
      const action = controlled[(event.shiftKey ? "shift+" : "") + key.toLowerCase()];
      if (!action || ["search", "text"].includes(target.type)) return;
      event.preventDefault();
      return action();
    }
    const kind = target.tagName === "INPUT" ? target.type : target.tagName;
    // the slider of the frames goes round, and up and down are slices, as elsewhere
    const moves = ["range", "radio"].includes(kind) && target.id !== "frame";
    if (["search", "text"].includes(kind) || (moves && key.startsWith("Arrow"))) return;
    if (kind === "BUTTON" && key === " ") return;
    const name = key.length === 1 ? key.toLowerCase() : key;
    const action = (event.shiftKey && shifted[name]) || actions[name];
    if (action && action() !== false) event.preventDefault();
  });
  // after a click Space should play, not press the same button again
  document.addEventListener("click", (event) => event.detail && event.target.closest("button")?.blur());
}
