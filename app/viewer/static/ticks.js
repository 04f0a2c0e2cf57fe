/* Below the slider of the frames: on which of them this slice was drawn on, and which are end-diastole and -systole. */

import { NAMES, STRUCTURES } from "./document.js";
import { COLOURS } from "./scene.js";

const element = document.getElementById("ticks");

export class Ticks {
  constructor(choose) {
    this.choose = choose;
  }

  open({ frames }, counting) {
    Object.assign(this, { frames, counting, shown: null });
  }

  show({ document: drawing, result, slice }) {
    const drawn = drawing.onSlice(slice);
    const { end_diastolic_frame: ed = null, end_systolic_frame: es = null } = result?.numbers ?? {};
    const key = JSON.stringify([drawn.map(({ structure, frame }) => [structure, frame]), ed, es]);
    if (key === this.shown) return;
    this.shown = key;
    const frames = [...new Set([...drawn.map(({ frame }) => frame), ed, es])].filter((frame) => frame !== null);
    element.replaceChildren(...frames.map((frame) => this.#tick(frame, drawn, { ED: ed, ES: es })));
  }

  #tick(frame, drawn, phases) {
    const tick = document.createElement("span");
    tick.style.left = `${(100 * frame) / Math.max(this.frames - 1, 1)}%`;
    const there = STRUCTURES.filter((name) => drawn.some((one) => one.structure === name && one.frame === frame));
    for (const structure of there) tick.appendChild(document.createElement("i")).style.background = COLOURS[structure];
    const names = Object.keys(phases).filter((name) => phases[name] === frame);
    tick.append(names.join(" "));
    const about = [...names, there.length && `drawn: ${there.map((name) => NAMES[name]).join(", ")}`].filter(Boolean);
    tick.title = `frame ${this.counting.frame(frame)}: ${about.join(", ")}`;
    tick.addEventListener("click", () => this.choose(frame));
    return tick;
  }
}
