/* Drawing a contour by hand: points are set by clicks, dragged, added and removed. */

import { fewPoints, nearestPiece, nearestPoint, smoothRing } from "./contour.js";

const NEAR = 8; // of the screen's pixels: closer than that a click means the point or the line
const RADIUS = 4.5;

/** The rings of a drawing: {points}, drawn here, or {rings}, of a mask. */
export function ringsOf(scene, drawing) {
  return drawing.rings ?? [smoothRing(drawing.points).map((point) => scene.inside(point))];
}

export class Editor {
  /** `changed(drawing)` is called as a drawing changes, with null when none is left; `ended()` when one is begun no
      longer. */
  constructor(scene, { changed, ended }) {
    Object.assign(this, { scene, changed, ended });
    this.drawing = null; // that can be changed
    this.open = null; // points of one that is not closed yet
    this.touched = null; // index of the last touched point
    this.over = null; // where the pointer is
    this.layer = new Konva.Layer();
    this.band = new Konva.Line({ stroke: "#f0e442", strokeWidth: 1.5, strokeScaleEnabled: false, listening: false });
    scene.stage.add(this.layer);
    scene.stage.on("click tap", ({ evt }) => !evt.button && this.#click());
    scene.stage.on("mousemove", () => {
      this.over = this.scene.size && this.scene.pointer();
      if (this.open) this.#stretch();
    });
    scene.stage.on("zoomed", () => this.#resize());
    scene.stage.on("contextmenu", (event) => {
      event.evt.preventDefault();
      if (event.target.getAttr("index") !== undefined) this.#remove(event.target.getAttr("index"));
    });
    scene.container.addEventListener("dblclick", () => this.open && this.close());
  }

  /** Show the points of a drawing, or of none. */
  edit(drawing) {
    if (drawing === this.drawing || this.open) return;
    this.drawing = drawing;
    this.touched = null;
    this.#lay();
  }

  begin() {
    this.drawing = null;
    this.open = [];
    this.#lay();
  }

  cancel() {
    this.open = null;
    this.#lay();
    this.ended();
  }

  /** @returns whether there were points enough. */
  close() {
    if (this.open.length < 3) return false;
    this.drawing = { points: this.open };
    this.open = null;
    this.#lay();
    this.changed(this.drawing);
    this.ended();
    return true;
  }

  /** Take away the point that was touched last. */
  removeTouched() {
    const last = this.open ? this.open.length - 1 : this.touched;
    if (last !== null && last >= 0) this.#remove(last);
  }

  #click() {
    if (!this.scene.size) return;
    const position = this.scene.pointer();
    if (this.open) {
      if (this.open.length > 2 && this.#apart(position, this.open[0]) < NEAR) return this.close();
      // the second of two clicks that make a double one
      if (this.open.length && this.#apart(position, this.open.at(-1)) < 3) return;
      this.open.push(position);
      this.#lay();
    } else if (this.drawing) {
      this.#clickLine(position);
    }
  }

  /** A click on the line adds a point there; that of a mask is given points first. */
  #clickLine(position) {
    const rings = ringsOf(this.scene, this.drawing);
    if (this.#apart(position, rings[0][nearestPiece(rings[0], position)]) > NEAR) return;
    const { points } = this.drawing;
    if (points) {
      if (points.some((point) => this.#apart(point, position) < NEAR)) return;
      this.touched = nearestPoint(points, position) + 1;
      points.splice(this.touched, 0, position);
    } else if (rings.length === 1) {
      this.drawing = { points: fewPoints(rings[0]) };
    }
    this.#lay();
    this.changed(this.drawing);
  }

  #remove(index) {
    const points = this.open ?? this.drawing.points;
    points.splice(index, 1);
    this.touched = null;
    if (!this.open) {
      if (points.length < 3) this.drawing = null;
      this.changed(this.drawing);
    }
    this.#lay();
  }

  #apart(a, b) {
    const { x, y } = this.scene.stage.scale();
    return Math.hypot((a[0] - b[0]) * x, (a[1] - b[1]) * y);
  }

  #lay() {
    this.layer.removeChildren();
    this.scene.container.classList.toggle("drawing", this.open !== null);
    this.layer.add(this.band);
    (this.open ?? this.drawing?.points ?? []).forEach((point, index) => this.layer.add(this.#handle(point, index)));
    this.#resize();
    this.#stretch();
  }

  #handle([x, y], index) {
    const first = this.open && index === 0;
    const handle = new Konva.Circle({
      x, y, index, radius: RADIUS, fill: first ? "#f0e442" : "#14171b", stroke: "#f0e442", strokeWidth: 1.5,
      hitStrokeWidth: 8, draggable: !this.open,
    });
    handle.on("mouseenter", () => handle.fill("#f0e442"));
    handle.on("mouseleave", () => handle.fill(first ? "#f0e442" : "#14171b"));
    handle.on("mousedown touchstart", () => (this.touched = index));
    handle.on("dragmove", () => {
      const position = this.scene.inside([handle.x(), handle.y()]);
      handle.position({ x: position[0], y: position[1] });
      this.drawing.points[index] = position;
      this.changed(this.drawing);
    });
    return handle;
  }

  /** Points look alike at every zoom. */
  #resize() {
    const { x, y } = this.scene.stage.scale();
    for (const handle of this.layer.find("Circle")) handle.scale({ x: 1 / x, y: 1 / y });
    this.layer.batchDraw();
  }

  /** The open line, on to the pointer. */
  #stretch() {
    const points = this.open?.length ? [...this.open, ...(this.over ? [this.over] : [])] : [];
    this.band.points(points.flat());
    this.layer.batchDraw();
  }
}
