/* A second image beside the first: another frame of the same slice, at the same place and with the same window. */

import { Scene } from "./scene.js";

const element = (id) => document.getElementById(id);

export class Compare {
  /** `changed()` is called as another frame is chosen, `activated()` as the second image is clicked: the two have then
      changed places, so that what can be drawn on is where the click was. */
  constructor(scene, { windowed, changed, activated }) {
    this.scene = new Scene(element("other"), { windowed });
    Object.assign(this, { main: scene, changed, on: false, frame: 0 });
    this.scene.stage.on("click tap", ({ evt }) => {
      if (!this.on || evt.button) return;
      element("panes").classList.toggle("swapped");
      activated();
    });
    new ResizeObserver(() => this.on && scene.share()).observe(element("other"));
    element("other-frame").addEventListener("input", ({ target }) => {
      this.frame = Number(target.value) - 1;
      this.changed();
    });
  }

  open(cine) {
    this.frames = cine.frames;
    this.frame = Math.min(this.frame, cine.frames - 1);
    element("other-frame").max = cine.frames;
    this.scene.open(cine.size, cine.spacing, cine.region);
  }

  begin(frame) {
    Object.assign(this, { on: true, frame });
    this.#lay();
    Object.assign(this.main, { partner: this.scene });
    this.scene.partner = this.main;
  }

  close() {
    this.on = false;
    this.main.partner = this.scene.partner = null;
    this.#lay();
  }

  /** On with the frame, while both play. */
  step() {
    if (this.on) this.frame = (this.frame + 1) % this.frames;
  }

  show(pixels, table, outlines, counting, times) {
    this.scene.show(pixels, table);
    this.scene.mark(outlines, null);
    const number = counting.frame(this.frame), time = times ? `, ${Math.round(times[this.frame])} ms` : "";
    element("other-shown").textContent = `frame ${number}${time}`;
    element("other-frame").value = number;
    element("other-frame").setAttribute("aria-valuetext", `frame ${number} of ${this.frames}${time}`);
  }

  /** Show no image, and nothing on it. */
  clear() {
    this.scene.clear();
    this.scene.mark([], null);
  }

  #lay() {
    element("other-pane").hidden = !this.on;
    element("panes").classList.toggle("two", this.on);
    element("panes").classList.remove("swapped");
  }
}
