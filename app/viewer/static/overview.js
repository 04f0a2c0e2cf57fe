/* All slices in small, from base to apex, on the frame that is shown. */

import { trace } from "./scene.js";

const element = (id) => document.getElementById(id);

export class Overview {
  constructor(choose) {
    this.choose = choose;
    this.cells = [];
    this.images = null;
    new ResizeObserver(() => this.#arrange()).observe(element("slices"));
  }

  /** Places for the slices of a cine, in the order in which they are counted. */
  open(cine, counting) {
    Object.assign(this, { cine, counting, images: null });
    const [height, width] = cine.small.size;
    this.cells = counting.order.map((slice) => {
      const button = document.createElement("button");
      const canvas = button.appendChild(document.createElement("canvas"));
      Object.assign(canvas, { width, height });
      canvas.style.aspectRatio = `${width * cine.spacing[1]} / ${height * cine.spacing[0]}`;
      const number = button.appendChild(document.createElement("span"));
      number.textContent = counting.slice(slice);
      button.dataset.slice = slice;
      button.addEventListener("click", () => this.choose(slice));
      return { slice, button, canvas, pixels: new ImageData(width, height) };
    });
    for (const { pixels } of this.cells) pixels.data.fill(255);
    element("slices").replaceChildren(...this.cells.map(({ button }) => button));
    this.#arrange();
    this.ends(cine.base);
  }

  /** Mark the base and the apex: the base is the "first" or "last" stored slice, or null where unknown. */
  ends(base) {
    for (const { slice, button } of this.cells) {
      const end = slice === 0 ? "first" : slice === this.cine.slices - 1 ? "last" : null;
      button.dataset.end = base && end ? (end === base ? "base" : "apex") : "";
    }
  }

  /** "base", "apex" or "". */
  endOf(slice) {
    return this.cells.find((cell) => cell.slice === slice)?.button.dataset.end ?? "";
  }

  /** The frame that differs most from another one, in the heart's region of the slices in the middle: of end-diastole
      about end-systole. */
  mostUnlike(frame) {
    const { frames, slices, small } = this.cine;
    if (!this.images) return (frame + Math.round(0.35 * frames)) % frames;
    const count = small.size[0] * small.size[1], from = Math.floor(slices / 4);
    const differences = Array.from({ length: frames }, (_, other) => {
      let sum = 0;
      for (let slice = from; slice < slices - from; slice++) {
        const a = (slice * frames + frame) * count, b = (slice * frames + other) * count;
        for (let k = 0; k < count; k++) sum += Math.abs(this.images[a + k] - this.images[b + k]);
      }
      return sum;
    });
    return differences.indexOf(Math.max(...differences));
  }

  /** images: numbers of all slices and frames, once they have come. */
  take(images) {
    this.images = images;
  }

  /** frame, current slice; outlines(slice) lie on it; drawn(slice), suggested(slice), doubtful(slice): whether it
      is; leftOut(slice): at
      which phases. */
  show({ frame, slice: current, table, outlines, drawn, suggested, doubtful, leftOut }) {
    for (const { slice, button, canvas, pixels } of this.cells) {
      const context = canvas.getContext("2d");
      const count = canvas.width * canvas.height;
      if (this.images) {
        const start = (slice * this.cine.frames + frame) * count, { data } = pixels;
        for (let k = 0; k < count; k++) data[4 * k] = data[4 * k + 1] = data[4 * k + 2] = table[this.images[start + k]];
        context.putImageData(pixels, 0, 0);
        this.#draw(context, outlines(slice));
      }
      button.setAttribute("aria-pressed", String(slice === current));
      button.classList.toggle("has-contour", drawn(slice));
      button.classList.toggle("has-suggestion", suggested(slice));
      button.classList.toggle("doubtful", doubtful(slice));
      const out = leftOut(slice);
      button.dataset.out = out.map((phase) => `no ${phase}`).join(", ");
      const about = [
        `slice ${this.counting.slice(slice)}`, button.dataset.end, drawn(slice) && "a contour is drawn here",
        suggested(slice) && "a contour is suggested here", out.length && `left out at ${out.join(" and ")}`,
        doubtful(slice) && "the contour probably fits badly",
      ].filter(Boolean);
      button.setAttribute("aria-label", about.join(", "));
      button.title = `${about.join(", ")}; in files slice ${slice}, counted from 0`;
    }
  }

  /** So many columns that the slices are as large as they can be where all are shown at once. */
  #arrange() {
    const { clientWidth, clientHeight } = element("slices"), count = this.cells.length;
    if (!count) return;
    const [height, width] = this.cine.small.size, [row, column] = this.cine.spacing;
    const aspect = (width * column) / (height * row);
    const size = (columns) => {
      const rows = Math.ceil(count / columns);
      return Math.min(clientWidth / columns, (clientHeight / rows) * aspect);
    };
    const best = this.cells.map((_, k) => k + 1).reduce((a, b) => (size(b) > size(a) ? b : a));
    element("slices").style.setProperty("--columns", best);
    element("slices").style.setProperty("--rows", Math.ceil(count / best));
  }

  /** Rings lie in the whole image, the small one shows a part of it, with pixels of `factor`. */
  #draw(context, outlines) {
    const [top, left] = this.cine.region, { factor } = this.cine.small;
    context.save();
    context.setTransform(1 / factor, 0, 0, 1 / factor, (0.5 - left) / factor, (0.5 - top) / factor);
    context.lineWidth = 1.6 * factor;
    for (const { rings, colour, dash = [], opacity = 1 } of outlines) {
      context.globalAlpha = opacity;
      context.strokeStyle = colour;
      context.setLineDash(dash.map((length) => length * factor));
      context.beginPath();
      trace(context, rings);
      context.stroke();
    }
    context.restore();
  }

  /** Keep the current slice in sight where not all fit in. */
  reveal(slice) {
    this.cells.find((cell) => cell.slice === slice)?.button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
