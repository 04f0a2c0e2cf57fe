/* Contours under the reader's hand: points are set by clicks or keys, dragged, added and removed; a line that has no
   points yet, of a mask or as it was followed, gets them when it is touched. What it says is changed is changed by who
   owns the drawing. */

import { fewPoints, nearestPoint, ringFrom, rounded } from "./contour.js";
import { trace } from "./scene.js";

const NEAR = 8; // of the screen's pixels: closer than that a click means the point or the line
const RADIUS = 4.5;
const STEP = { small: 0.5, large: 4 }; // pixels of the image, by a key

export class Editor {
  /** `changed(structure, points, step)`: a contour is now of these points, null where too few are left; the changes of
      one step belong together. `dropped()`: a drag has ended. `opened(points)`: the line that is being drawn; `closed()`
      is called when it is to be closed, `chosen(structure)` when another structure was touched, `refused(why)` when
      something cannot be. */
  constructor(scene, calls) {
    Object.assign(this, { scene, calls });
    this.lines = []; // [{structure, rings, points, colour}]; points are null of a line that has none
    this.open = null; // points of a line that is not closed yet
    this.structure = null; // whose points are shown
    this.colour = "#fff";
    this.given = null; // {rings, points}: points of a line that had none, as long as none of them is moved
    this.touched = null; // index of the last touched point
    this.cursor = null; // where the next point is set by a key
    this.over = null; // where the pointer is
    this.dragging = this.laid = false;
    this.step = null; // what the changes of one drag, or of one point moved by keys, have in common
    this.handles = [];
    this.layer = new Konva.Layer();
    this.band = new Konva.Line({ strokeWidth: 1.5, strokeScaleEnabled: false, listening: false });
    scene.stage.add(this.layer);
    scene.stage.on("click tap", ({ evt }) => this.open && !evt.button && this.#click());
    scene.stage.on("mousemove", () => {
      this.over = this.scene.size && this.scene.pointer();
      if (this.open) this.#stretch();
    });
    scene.stage.on("zoomed", () => this.#resize());
    scene.stage.on("contextmenu", (event) => {
      event.evt.preventDefault();
      const index = event.target.getAttr("index");
      if (index !== undefined) this.#remove(index);
    });
    scene.container.addEventListener("dblclick", () => this.open && this.calls.closed());
  }

  /** What lies on the image and can be changed; of the structure that is chosen points are shown. */
  show({ lines, open, structure, colour }) {
    if (this.dragging) return;
    const same = this.laid && !this.cursor && open === this.open && structure === this.structure && colour === this.colour
      && lines.length === this.lines.length && lines.every((line, k) => line.rings === this.lines[k].rings);
    if (same) return;
    const moved = this.structure !== structure || !open !== !this.open;
    Object.assign(this, { lines, open, structure, colour });
    if (this.given && this.#line?.rings !== this.given.rings) this.given = null;
    const count = this.points?.length ?? 0;
    if (moved || this.touched >= count) this.touched = null;
    if (!open) this.cursor = null;
    this.#lay();
  }

  get #line() {
    return this.lines.find((line) => line.structure === this.structure);
  }

  /** Of the open line, or of the chosen structure's contour, or null. */
  get points() {
    return this.open ?? this.#line?.points ?? this.given?.points ?? null;
  }

  /** Take away the point that was touched last. @returns whether there was one. */
  removeTouched() {
    const last = this.open ? this.open.length - 1 : this.touched;
    if (last === null || last < 0) return false;
    this.#remove(last);
    return true;
  }

  /** By keys: move the point that is touched, or the cross of an open line. @returns whether there was one. */
  nudge(right, down, large) {
    const step = large ? STEP.large : STEP.small, points = this.points;
    const by = ([x, y]) => this.scene.inside([x + right * step, y + down * step]);
    if (this.open) {
      this.cursor = by(this.cursor ?? this.open.at(-1) ?? this.scene.middle());
      this.#lay();
    } else if (this.touched !== null && points) {
      if (this.step?.index !== this.touched) this.step = { index: this.touched };
      this.calls.changed(this.structure, points.with(this.touched, rounded(by(points[this.touched]))), this.step);
    } else {
      return false;
    }
    return true;
  }

  /** By a key: a point of the open line where the cross is. @returns whether a line is open. */
  set() {
    if (!this.open) return false;
    this.cursor ??= this.open.at(-1) ?? this.scene.middle();
    if (this.open.length && this.#apart(this.cursor, this.open.at(-1)) < 1) return true;
    this.calls.opened([...this.open, rounded(this.cursor)]);
    return true;
  }

  /** By keys: touch the next point of the chosen structure's contour, or the one before. @returns whether it has any. */
  touch(steps) {
    if (this.open) return false;
    const line = this.#line;
    if (!line || (!this.points && !this.#give(line, line.rings[0]?.[0]))) return false;
    const count = this.points.length;
    this.touched = this.touched === null ? 0 : (this.touched + steps + count) % count;
    this.step = null;
    this.#lay();
    return true;
  }

  /** Touch no point any more. @returns whether one was. */
  release() {
    const had = this.touched !== null || this.given !== null;
    this.touched = this.given = null;
    this.#lay();
    return had;
  }

  #click() {
    if (!this.scene.size) return;
    const position = this.scene.pointer();
    if (this.open.length > 2 && this.#apart(position, this.open[0]) < NEAR) return this.calls.closed();
    // the second of two clicks that make a double one
    if (this.open.length && this.#apart(position, this.open.at(-1)) < 3) return;
    this.cursor = null;
    this.calls.opened([...this.open, rounded(position)]);
  }

  /** Points for a line that has none, the first where it was touched. @returns whether it can have them. */
  #give(line, at) {
    if (line.rings.length !== 1) {
      this.calls.refused("This contour has several rings, which points cannot have: clear it and draw it anew.");
      return false;
    }
    this.given = { rings: line.rings, points: fewPoints(ringFrom(line.rings[0], at)).map(rounded) };
    return true;
  }

  /** A line was grabbed: it has a point there, which goes with the pointer. */
  #grab(line, event) {
    if (event.evt.button) return;
    event.cancelBubble = true; // the image stays
    const position = this.scene.pointer();
    if (line.structure !== this.structure) {
      this.calls.chosen(line.structure);
      line = this.lines.find(({ structure }) => structure === line.structure);
    }
    const points = this.points;
    this.step = {};
    if (points) {
      const near = points.findIndex((point) => this.#apart(point, position) < NEAR);
      this.touched = near < 0 ? nearestPoint(points, position) + 1 : near;
      if (near < 0) this.calls.changed(line.structure, points.toSpliced(this.touched, 0, rounded(position)), this.step);
    } else {
      if (!this.#give(line, position)) return;
      this.touched = 0;
    }
    this.#lay();
    this.handles[this.touched]?.startDrag(event);
  }

  #remove(index) {
    const points = this.points.toSpliced(index, 1);
    this.touched = null;
    if (this.open) this.calls.opened(points);
    else this.calls.changed(this.structure, points.length < 3 ? null : points, {});
  }

  #apart(a, b) {
    const { x, y } = this.scene.stage.scale();
    return Math.hypot((a[0] - b[0]) * x, (a[1] - b[1]) * y);
  }

  #lay() {
    this.laid = true;
    this.layer.destroyChildren();
    this.scene.container.classList.toggle("drawing", this.open !== null);
    this.handles = [];
    if (!this.open) for (const line of this.lines) this.layer.add(this.#grip(line));
    this.band = new Konva.Line({
      stroke: this.colour, strokeWidth: 2, strokeScaleEnabled: false, listening: false,
    });
    this.layer.add(this.band);
    (this.points ?? []).forEach((point, index) => this.handles.push(this.#handle(point, index)));
    if (this.handles.length) this.layer.add(...this.handles);
    if (this.cursor) this.layer.add(this.#cross(this.cursor));
    this.#resize();
    this.#stretch();
  }

  /** What can be grabbed of a line: wider than it is. */
  #grip(line) {
    const grip = new Konva.Shape({
      sceneFunc: () => {},
      hitFunc: (context, shape) => {
        context.beginPath();
        trace(context, line.rings);
        context.strokeShape(shape);
      },
      stroke: line.colour, hitStrokeWidth: 2 * NEAR, strokeScaleEnabled: false,
    });
    grip.on("mousedown touchstart", (event) => this.#grab(line, event));
    grip.on("mouseenter", () => (this.scene.container.style.cursor = "pointer"));
    grip.on("mouseleave", () => (this.scene.container.style.cursor = ""));
    return grip;
  }

  #handle([x, y], index) {
    const first = this.open && index === 0, filled = first || index === this.touched;
    const handle = new Konva.Circle({
      x, y, index, radius: RADIUS, fill: filled ? this.colour : "#14171b", stroke: this.colour, strokeWidth: 1.5,
      hitStrokeWidth: 8, draggable: !this.open,
    });
    handle.on("mouseenter", () => handle.fill(this.colour));
    handle.on("mouseleave", () => handle.fill(first || index === this.touched ? this.colour : "#14171b"));
    handle.on("mousedown touchstart", () => {
      this.touched = index;
      this.step = {};
    });
    handle.on("dbltap", () => !this.open && this.#remove(index));
    handle.on("dragstart", () => (this.dragging = true));
    handle.on("dragmove", () => {
      const position = rounded(this.scene.inside([handle.x(), handle.y()]));
      handle.position({ x: position[0], y: position[1] });
      const points = this.points.with(index, position), line = this.#line;
      this.lines = this.lines.map((other) => (other === line ? { ...line, points, rings: null } : other));
      this.calls.changed(this.structure, points, this.step);
    });
    handle.on("dragend", () => {
      this.dragging = false;
      this.calls.dropped();
    });
    return handle;
  }

  #cross([x, y]) {
    return new Konva.Path({
      x, y, name: "cross", data: "M-9 0H9M0 -9V9", stroke: this.colour, strokeWidth: 1.5, strokeScaleEnabled: false,
      listening: false,
    });
  }

  /** Points look alike at every zoom. */
  #resize() {
    const { x, y } = this.scene.stage.scale();
    for (const part of this.layer.find("Circle, .cross")) part.scale({ x: 1 / x, y: 1 / y });
    this.layer.batchDraw();
  }

  /** The open line, on to the cross or the pointer. */
  #stretch() {
    const to = this.cursor ?? this.over;
    const points = this.open?.length ? [...this.open, ...(to ? [to] : [])] : [];
    this.band.points(points.flat());
    this.layer.batchDraw();
  }
}
