/* Which grey values are black and white: width and level, in the values of the file. */

const element = (id) => document.getElementById(id);
const ENTRIES = 2 ** 16;
const FAST = 1 / 300; // of the first window, for one pixel of the screen

export class Window {
  /** `changed()` is called as the window changes. */
  constructor(changed) {
    Object.assign(this, { changed, width: 1, level: 0, first: { width: 1, level: 0 }, table: new Uint8ClampedArray(ENTRIES) });
    for (const id of ["width", "level"]) {
      element(id).addEventListener("input", ({ target }) => this.set({ [id]: Number(target.value) }));
    }
  }

  /** That of a cine, with numbers that stand for low + step * number. */
  open({ scale, window }) {
    this.scale = scale;
    this.first = window;
    const { width, level } = window;
    const fine = scale.step < 1 ? width / 200 : 1;
    for (const [id, from, to] of [["width", fine, 4 * width], ["level", level - 2 * width, level + 2 * width]]) {
      Object.assign(element(id), { min: from, max: to, step: fine, disabled: false });
    }
    this.reset();
  }

  reset() {
    this.set(this.first);
  }

  set({ width = this.width, level = this.level }) {
    this.width = Math.max(width, this.scale.step);
    this.level = level;
    const { low, step } = this.scale;
    const steep = (255 * step) / this.width, start = ((low - this.level) / this.width + 0.5) * 255;
    for (let number = 0; number < ENTRIES; number++) this.table[number] = start + steep * number;
    element("width").value = this.width;
    element("level").value = this.level;
    this.changed();
  }

  /** Right for a wider window, up for a brighter image. */
  drag(right, down) {
    const step = this.first.width * FAST;
    this.set({ width: this.width + right * step, level: this.level + down * step });
  }

  toString() {
    const digits = this.scale?.step < 1 ? 3 : 0;
    const shown = (value) => (digits ? Number(value.toPrecision(3)) : Math.round(value)).toString().replace("-", "−");
    return `W ${shown(this.width)} · L ${shown(this.level)}`;
  }
}
