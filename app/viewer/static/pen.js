/* All that changes a drawing, each a step that can be undone. */

import { many } from "./counting.js";
import { contoursOf, NAMES, withContours, withoutSuggested, withSuggested } from "./document.js";
import { say } from "./page.js";
import { asChange } from "./work.js";

export class Pen {
  /** page: what is on the screen: `work`, `counting`, `there`: whether the image of the slice is, `rings(structure)` of
      what lies on it; `changed()` is called after a change, `go(at)` shows {slice, frame}, `refresh()` shows all as it
      is. */
  constructor(page) {
    this.page = page;
  }

  get #work() {
    return this.page.work;
  }

  get #content() {
    return this.page.work.content;
  }

  get #here() {
    const { slice, frame } = this.#work;
    return { slice, frame };
  }

  #change(content, about, at = this.#here, step = null) {
    if (this.#work.document.change(content, about, at, step)) this.page.changed();
  }

  /** The line that is being drawn here, {structure, slice, frame, points}, or null: without an image none is. */
  get open() {
    const { open } = this.#content, { slice, frame } = this.#here;
    return open && this.page.there && open.slice === slice && open.frame === frame ? open : null;
  }

  /** The drawing of the chosen structure here, or null. */
  get drawn() {
    const { structure, slice, frame, document } = this.#work;
    return document.contour(structure, slice, frame);
  }

  choose(structure) {
    const work = this.#work;
    work.structure = structure;
    if (this.open) this.#change({ ...this.#content, open: { ...this.open, structure } }, `${NAMES[structure]} chosen`);
    this.page.refresh();
  }

  begin() {
    const { structure } = this.#work, name = NAMES[structure];
    this.#change({ ...this.#content, open: { structure, ...this.#here, points: [] } }, `contour of the ${name} begun`);
    say(`Click along the border of the ${name}, or set points by arrows and Space. A click on the first point, or Enter,`
      + " closes it.");
  }

  drop() {
    this.#change({ ...this.#content, open: null }, "contour dropped");
    say("The contour was not closed, and is dropped. Ctrl+Z brings it back.");
  }

  opened(points) {
    this.#change({ ...this.#content, open: { ...this.open, points } }, "point set");
  }

  close() {
    const { structure, slice, frame, points } = this.open;
    if (points.length < 3) return say("A contour needs three points or more.", "wrong");
    const content = { ...this.#content, open: null }, closed = [{ structure, slice, frame, drawing: { points } }];
    this.#change(withContours(content, closed), `${NAMES[structure]} drawn`);
    if (!this.#work.following) {
      say("Drag points to correct it. Draw on more slices, other structures or frames; then propagate.");
    }
  }

  /** Points of a contour here have changed; null where too few are left. */
  mended(structure, points, step) {
    const { slice, frame, document } = this.#work;
    const drawn = document.contour(structure, slice, frame);
    const about = `${NAMES[structure]} ${points === null ? "cleared" : drawn ? "changed" : "mended"}`;
    const network = drawn ? drawn.by : this.#work.suggestion(structure, slice, frame);
    const drawing = points && { points, ...(network && { by: "network, mended" }) };
    const changes = [{ structure, slice, frame, drawing }];
    this.#change(withContours(this.#content, changes), about, this.#here, step);
  }

  /** Why the contour here cannot be copied so many slices and frames on, or null. */
  cannotCopy(slices, frames) {
    const { structure, slice, frame, cine } = this.#work;
    if (!this.page.rings(structure)) return `There is no contour of the ${NAMES[structure]} here to copy.`;
    if (slices && this.page.counting.onwards(slice, slices) === null) return "There is no slice further on.";
    return frames && cine.frames < 2 ? "There is no other frame." : null;
  }

  copy(slices, frames) {
    const { structure, slice, frame, cine } = this.#work;
    const to = {
      slice: slices ? this.page.counting.onwards(slice, slices) : slice,
      frame: (frame + frames + cine.frames) % cine.frames,
    };
    const suggested = this.#work.suggestion(structure, slice, frame) && { by: "network, mended" };
    const { points, rings, by } = this.drawn ?? { rings: this.page.rings(structure), ...suggested };
    const drawing = { ...(points ? { points } : { rings }), ...(by && { by }) };
    const content = withContours(this.#content, [{ structure, ...to, drawing }]);
    const there = slices ? `slice ${this.page.counting.slice(to.slice)}` : `frame ${this.page.counting.frame(to.frame)}`;
    this.page.go(to);
    this.#change(content, `${NAMES[structure]} copied to ${there}`, to);
    say(`Copied to ${there}: drag the line or its points where it does not fit.`);
  }

  cannotClear() {
    if (this.drawn) return null;
    const { structure, slice, document } = this.#work, name = NAMES[structure];
    const frames = document.onSlice(slice).filter((one) => one.structure === structure).map(({ frame }) => frame);
    if (!frames.length && this.#work.suggestedSlices.has(slice)) return "It is only suggested: Q dismisses it.";
    if (!frames.length) return `There is no contour of the ${name} on this slice.`;
    const numbers = frames.map((frame) => this.page.counting.frame(frame)).sort((a, b) => a - b).join(", ");
    return `Nothing of the ${name} is drawn on this frame; it is followed from frame ${numbers}.`;
  }

  clear() {
    const { structure } = this.#work;
    const cleared = [{ structure, ...this.#here, drawing: null }];
    this.#change(withContours(this.#content, cleared), `${NAMES[structure]} cleared`);
    say("Cleared. Ctrl+Z brings it back.");
  }

  clearSlice() {
    const { slice, document } = this.#work;
    const cleared = document.onSlice(slice).map((contour) => ({ ...contour, drawing: null }));
    const content = { ...this.#content, open: this.open ? null : this.#content.open };
    this.#change(withContours(content, cleared), "slice cleared");
    say("The slice is cleared. Ctrl+Z brings it back.");
  }

  /** Contours of a file, in place of all of the same structures; with those that are only suggested, {frame, contours},
      or null. @returns the structures. */
  load(name, contours, offered) {
    const structures = [...new Set(contours.map(({ structure }) => structure))];
    const old = contoursOf(this.#content).filter(({ structure }) => structures.includes(structure));
    const cleared = old.map((contour) => ({ ...contour, drawing: null }));
    const content = withContours(this.#content, [...cleared, ...contours.map(asChange)]);
    this.#change(offered ? withSuggested(content, offered) : content, `${name} loaded`);
    return structures;
  }

  /** Suggest what a network has drawn on a frame, {frame, contours}. @returns where it can be seen, {slice, frame}, or
      null where all of it is drawn already. */
  suggest(found) {
    const { slice } = this.#work, content = withSuggested(this.#content, found);
    if (content === this.#content) return null;
    const { frame, contours } = content.suggested;
    const slices = this.page.counting.order.filter((number) => contours.some((contour) => contour.slice === number));
    const at = { slice: slices.includes(slice) ? slice : slices[Math.floor(slices.length / 2)], frame };
    this.#change(content, "contours suggested", at);
    return at;
  }

  /** Suggested contours of slices become drawings. */
  accept(slices) {
    const { frame, contours } = this.#content.suggested;
    const taken = contours.filter(({ slice }) => slices.includes(slice));
    const changes = taken.map((contour) => asChange({ ...contour, frame, by: "network" }));
    this.#change(withContours(this.#content, changes), `${many(taken.length, "suggested contour")} accepted`);
    say(`${many(taken.length, "contour")} accepted, on ${many(slices.length, "slice")}. Ctrl+Z takes it back.`);
  }

  dismiss(slices) {
    const content = withoutSuggested(this.#content, ({ slice }) => slices.includes(slice));
    this.#change(content, "suggestion dismissed");
    say(`The suggestion is dismissed on ${many(slices.length, "slice")}. Ctrl+Z brings it back.`);
  }

  undo() {
    const step = this.#work.document.undo();
    this.#went(step, "Undone");
  }

  redo() {
    const step = this.#work.document.redo();
    this.#went(step, "Done again");
  }

  #went({ about, at }, said) {
    this.page.go(at);
    this.page.changed();
    say(`${said}: ${about}.`);
  }

  /** End-diastole or end-systole, "ed" or "es", is the frame that is shown; once more, and it is found again. */
  setPhase(phase) {
    const { frame } = this.#work, other = phase === "ed" ? "es" : "ed", name = phase.toUpperCase();
    const off = this.#content[phase] === frame;
    const content = { ...this.#content, [phase]: off ? null : frame };
    if (content.ed !== null && content.ed === content.es) content[other] = null;
    this.#change(Object.freeze(content), off ? `${name} found by volume` : `${name} set`);
    say(off ? `${name} is found by the volume again.` : `${name} is frame ${this.page.counting.frame(frame)}.`);
  }

  findPhases() {
    this.#change(Object.freeze({ ...this.#content, ed: null, es: null }), "phases found by volume");
  }

  /** The slice is part of the ventricle at a phase, "Ed" or "Es", or is not. */
  leaveOut(phase) {
    const { slice } = this.#work, key = `leftOut${phase}`, had = this.#content[key].includes(slice);
    const slices = had ? this.#content[key].filter((one) => one !== slice) : [...this.#content[key], slice];
    const about = `slice ${this.page.counting.slice(slice)} ${had ? "in" : "out"} at ${phase.toUpperCase()}`;
    this.#change(Object.freeze({ ...this.#content, [key]: slices }), about);
    say(`${about[0].toUpperCase()}${about.slice(1)}.`);
  }

  setPapillary(papillary) {
    this.#change(Object.freeze({ ...this.#content, papillary }), "papillary muscles noted");
  }
}
