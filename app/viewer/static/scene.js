/* The image and what lies on it, in the coordinates of its pixels; zoom and shift. */

import { drawArrows, drawGrid } from "./field.js";

const COLOURS = { drawn: "#f0e442", followed: "#56b4e9", moved: "#e69f00" };

export class Scene {
  constructor(container) {
    this.container = container;
    Konva.dragButtons = [0];
    this.stage = new Konva.Stage({ container, width: 1, height: 1, draggable: true });
    this.size = null; // [height, width] of the image
    this.canvas = document.createElement("canvas");
    this.picture = new Konva.Image({ image: this.canvas });
    this.rings = [];
    this.contour = new Konva.Shape({
      sceneFunc: (context, shape) => {
        if (!this.rings.length) return;
        context.beginPath();
        for (const ring of this.rings) {
          ring.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
          context.closePath();
        }
        context.strokeShape(shape);
      },
      strokeWidth: 2, strokeScaleEnabled: false, lineJoin: "round",
    });
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
    this.below = new Konva.Layer({ listening: false });
    this.below.add(this.picture);
    this.above = new Konva.Layer({ listening: false });
    this.above.add(this.motion, this.contour);
    this.stage.add(this.below, this.above);
    this.stage.on("wheel", (event) => this.#wheel(event.evt));
    new ResizeObserver(() => this.fit()).observe(container);
  }

  /** Make room for images of a size, with pixels as high and wide as in the body. */
  open([height, width], [row, column]) {
    Object.assign(this.canvas, { width, height });
    this.pixels = this.canvas.getContext("2d").createImageData(width, height);
    this.pixels.data.fill(255);
    this.picture.setAttrs({ x: -0.5, y: -0.5, width, height });
    this.size = [height, width];
    this.aspect = row / column;
    this.fit();
  }

  fit() {
    const { clientWidth, clientHeight } = this.container;
    this.stage.size({ width: Math.max(clientWidth, 1), height: Math.max(clientHeight, 1) });
    if (!this.size) return;
    const [height, width] = this.size;
    const scale = Math.min(clientWidth / width, clientHeight / (height * this.aspect));
    this.stage.scale({ x: scale, y: scale * this.aspect });
    this.stage.position({
      x: (clientWidth - (width - 1) * scale) / 2, y: (clientHeight - (height - 1) * scale * this.aspect) / 2,
    });
    this.stage.fire("zoomed");
  }

  /** Show one frame: a byte a pixel, each replaced by its entry in the table. */
  show(frame, table) {
    const { data } = this.pixels;
    for (let k = 0; k < frame.length; k++) data[4 * k] = data[4 * k + 1] = data[4 * k + 2] = table[frame[k]];
    this.canvas.getContext("2d").putImageData(this.pixels, 0, 0);
    this.below.batchDraw();
  }

  /** Rings to lie on the image, "drawn" or "followed", and what has moved. */
  mark(rings, kind, field) {
    this.rings = rings;
    this.contour.stroke(COLOURS[kind]);
    this.field = field;
    this.motion.opacity(field?.mode === "grid" ? 0.55 : 1);
    this.above.batchDraw();
  }

  /** Where the pointer is, in pixels of the image, kept inside it. */
  pointer() {
    const { x, y } = this.stage.getRelativePointerPosition();
    return this.inside([x, y]);
  }

  inside([x, y]) {
    const [height, width] = this.size;
    return [Math.min(Math.max(x, -0.5), width - 0.5), Math.min(Math.max(y, -0.5), height - 0.5)];
  }

  #wheel(event) {
    event.preventDefault();
    if (!this.size) return;
    const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015));
    const { x, y } = this.stage.scale();
    const next = Math.min(Math.max(x * factor, 0.5), 60);
    const pointer = this.stage.getPointerPosition();
    const under = this.stage.getRelativePointerPosition();
    this.stage.scale({ x: next, y: (next * y) / x });
    this.stage.position({ x: pointer.x - under.x * next, y: pointer.y - (under.y * next * y) / x });
    this.stage.fire("zoomed");
  }
}
