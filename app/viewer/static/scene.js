/* The image and what lies on it, in the coordinates of its pixels; zoom and shift. */

import { inside } from "./contour.js";
import { drawArrows, drawGrid } from "./field.js";

// those of the report; told apart by the colour-blind too
export const COLOURS = { lumen: "#f0e442", epicardium: "#2cc295", rv: "#56b4e9", moved: "#e69f00" };
const NEAREST = 60, FARTHEST = 0.5; // zoom: pixels of the screen for one of the image
const STEP = 1.25; // of the zoom by a key
const SHIFT = 40; // pixels of the screen, by a key

export class Scene {
  /** `windowed(right, down)` is called as the window is dragged, in pixels of the screen. */
  constructor(container, { windowed } = {}) {
    this.container = container;
    Konva.dragButtons = [0];
    Konva.hitOnDragEnabled = true; // a second finger may come down while the first drags
    this.stage = new Konva.Stage({ container, width: 1, height: 1, draggable: true });
    this.size = null; // [height, width] of the image
    this.home = null; // part of the image that is shown: [top, left, height, width]; null after a zoom or shift by hand
    this.partner = null; // another scene that is kept at the same place
    this.canvas = document.createElement("canvas");
    this.picture = new Konva.Image({ image: this.canvas });
    this.outlines = [];
    this.field = null; // {mode, moved, step}
    this.motion = new Konva.Shape({
      sceneFunc: (context, shape) => {
        if (!this.field) return;
        const draw = this.field.mode === "grid" ? drawGrid : drawArrows;
        draw(context, this.field, this.size);
        context.strokeShape(shape);
      },
      stroke: COLOURS.moved, strokeWidth: 1.2, strokeScaleEnabled: false,
    });
    this.contours = new Konva.Group();
    this.below = new Konva.Layer({ listening: false });
    this.below.add(this.picture);
    this.above = new Konva.Layer({ listening: false });
    this.above.add(this.motion, this.contours);
    this.stage.add(this.below, this.above);
    this.stage.on("wheel", ({ evt }) => this.#wheel(evt));
    this.stage.on("touchmove", ({ evt }) => this.#pinch(evt));
    this.stage.on("touchend touchcancel", () => (this.fingers = null));
    this.stage.on("dragmove", ({ target }) => target === this.stage && this.#moved());
    if (windowed) this.#dragWindow(windowed);
    new ResizeObserver(() => this.#resized()).observe(container);
  }

  /** Make room for images of a size, with pixels as high and wide as in the body; home is the part shown first. */
  open([height, width], [row, column], home) {
    Object.assign(this.canvas, { width, height });
    this.pixels = this.canvas.getContext("2d").createImageData(width, height);
    this.pixels.data.fill(255);
    this.picture.setAttrs({ x: -0.5, y: -0.5, width, height });
    this.size = [height, width];
    this.aspect = row / column;
    this.fit(home);
  }

  /** Show a part of the image, or all of it. */
  fit(home) {
    if (!this.size) return;
    this.#place(home ?? [0, 0, ...this.size]);
    this.home = home ?? [0, 0, ...this.size];
    this.#zoomed();
  }

  /** Show one frame: a number for each pixel, each replaced by its grey in the table. */
  show(frame, table) {
    const { data } = this.pixels;
    for (let k = 0; k < frame.length; k++) data[4 * k] = data[4 * k + 1] = data[4 * k + 2] = table[frame[k]];
    this.canvas.getContext("2d").putImageData(this.pixels, 0, 0);
    this.below.batchDraw();
  }

  /** Show no image. */
  clear() {
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.below.batchDraw();
  }

  /** Outlines to lie on the image, [{rings, colour, width, dash, opacity}], and what has moved. */
  mark(outlines, field) {
    this.outlines = outlines;
    this.contours.destroyChildren();
    for (const { rings, colour, width = 2, dash, opacity = 1 } of outlines) {
      this.contours.add(new Konva.Shape({
        sceneFunc: (context, shape) => {
          context.beginPath();
          trace(context, rings);
          context.strokeShape(shape);
        },
        stroke: colour, strokeWidth: width, strokeScaleEnabled: false, lineJoin: "round", dash, opacity,
      }));
    }
    this.field = field;
    this.motion.opacity(field?.mode === "grid" ? 0.55 : 1);
    this.above.batchDraw();
  }

  /** Where the pointer is, in pixels of the image, kept inside it. */
  pointer() {
    const { x, y } = this.stage.getRelativePointerPosition();
    return this.inside([x, y]);
  }

  inside(point) {
    return inside(point, this.size);
  }

  /** What lies in the middle of the screen, in pixels of the image. */
  middle() {
    const { width, height } = this.stage.size(), { x, y } = this.stage.position(), scale = this.stage.scale();
    return this.inside([(width / 2 - x) / scale.x, (height / 2 - y) / scale.y]);
  }

  /** Zoom in or out by keys: steps of 1 or -1. */
  zoom(steps) {
    const { width, height } = this.stage.size();
    this.#zoomAt({ x: width / 2, y: height / 2 }, STEP ** steps);
  }

  /** Move what is seen by keys: so many steps to the right and down. */
  shift(right, down) {
    const { x, y } = this.stage.position();
    this.stage.position({ x: x - right * SHIFT, y: y - down * SHIFT });
    this.#moved();
  }

  #place([top, left, height, width]) {
    const { clientWidth, clientHeight } = this.container;
    this.stage.size({ width: Math.max(clientWidth, 1), height: Math.max(clientHeight, 1) });
    const scale = Math.min(clientWidth / width, clientHeight / (height * this.aspect));
    this.stage.scale({ x: scale, y: scale * this.aspect });
    this.stage.position({
      x: clientWidth / 2 - (left + (width - 1) / 2) * scale,
      y: clientHeight / 2 - (top + (height - 1) / 2) * scale * this.aspect,
    });
  }

  /** The same part as before stays in the middle. */
  #resized() {
    const { clientWidth, clientHeight } = this.container;
    if (!clientWidth || !clientHeight) return;
    if (this.home) {
      this.#place(this.home);
    } else {
      const { x, y } = this.stage.position(), { width, height } = this.stage.size();
      this.stage.size({ width: clientWidth, height: clientHeight });
      this.stage.position({ x: x + (clientWidth - width) / 2, y: y + (clientHeight - height) / 2 });
    }
    this.stage.fire("zoomed");
  }

  #zoomAt(pointer, factor) {
    if (!this.size) return;
    const { x, y } = this.stage.scale(), from = this.stage.position();
    const next = Math.min(Math.max(x * factor, FARTHEST), NEAREST), change = next / x;
    this.stage.scale({ x: next, y: y * change });
    this.stage.position({ x: pointer.x - (pointer.x - from.x) * change, y: pointer.y - (pointer.y - from.y) * change });
    this.#moved();
  }

  #wheel(event) {
    event.preventDefault();
    this.#zoomAt(this.stage.getPointerPosition(), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
  }

  /** Two fingers zoom and move. */
  #pinch(event) {
    if (event.touches.length !== 2 || !this.size) return;
    event.preventDefault();
    if (this.stage.isDragging()) this.stage.stopDrag();
    const { left, top } = this.container.getBoundingClientRect();
    const [a, b] = [...event.touches].map((touch) => [touch.clientX - left, touch.clientY - top]);
    const now = { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, apart: Math.hypot(a[0] - b[0], a[1] - b[1]) };
    const before = this.fingers;
    this.fingers = now;
    if (!before) return;
    const { x, y } = this.stage.position();
    this.stage.position({ x: x + now.x - before.x, y: y + now.y - before.y });
    this.#zoomAt(now, now.apart / before.apart);
  }

  #moved() {
    this.home = null;
    this.#zoomed();
  }

  #zoomed() {
    this.stage.fire("zoomed");
    this.share();
  }

  /** Bring the partner to the same place. */
  share() {
    if (this.partner?.size) this.partner.#takePlace(this);
  }

  #takePlace(other) {
    const { width, height } = this.stage.size(), { width: w, height: h } = other.stage.size();
    const { x, y } = other.stage.position();
    this.home = other.home;
    if (this.home) this.#place(this.home);
    else {
      this.stage.scale(other.stage.scale());
      this.stage.position({ x: x + (width - w) / 2, y: y + (height - h) / 2 });
    }
    this.stage.fire("zoomed");
  }

  /** With the right button, or with any in the mode for it, in which nothing else is done by dragging. */
  #dragWindow(windowed) {
    let last = null, dragged = false;
    const cover = document.createElement("div"); // keeps the mode's drags from the image
    cover.className = "cover";
    this.container.parentElement.append(cover);
    const begin = (event) => {
      dragged = false;
      if (!this.size || (event.button !== 2 && event.currentTarget !== cover)) return;
      last = [event.clientX, event.clientY];
    };
    const go = (event) => {
      if (!last) return;
      const [right, down] = [event.clientX - last[0], event.clientY - last[1]];
      if (!dragged && Math.hypot(right, down) < 3) return;
      dragged = true;
      last = [event.clientX, event.clientY];
      windowed(right, down);
    };
    for (const part of [this.container, cover]) part.addEventListener("pointerdown", begin);
    cover.addEventListener("pointerdown", (event) => cover.setPointerCapture(event.pointerId));
    cover.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { left, top } = this.container.getBoundingClientRect();
      const pointer = { x: event.clientX - left, y: event.clientY - top };
      this.#zoomAt(pointer, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
    }, { passive: false });
    addEventListener("pointermove", go);
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => (last = null));
    // the menu that comes after a drag is none for a point
    const menu = (event) => {
      event.preventDefault();
      if (dragged) event.stopPropagation();
    };
    for (const part of [this.container, cover]) part.addEventListener("contextmenu", menu, { capture: true });
  }
}

/** Closed lines through rings of [x, y]. */
export function trace(context, rings) {
  for (const ring of rings) {
    ring.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
  }
}
