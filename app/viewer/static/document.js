/* What a reader has drawn and said of one cine, and all steps that led there. A content is never changed, only replaced
   by another, so a step back is the content before. */

export const STRUCTURES = ["lumen", "epicardium", "rv"];
export const NAMES = { lumen: "lumen", epicardium: "epicardium", rv: "right ventricle" };
const STEPS = 1000; // that can be undone

/** contours: drawings {points} or {rings}, with {by: "network", "network, mended" or "network, not looked at"} where a
    network drew them, by place, see placeOf; open: {structure, slice, frame, points} of one that is not closed yet; suggested: {frame,
    contours: [{structure, slice, rings}]} that a network offers, or null; ed, es: frames by hand, or null; leftOutEd,
    leftOutEs: slices that are no part of the ventricle then; papillary: "included", "excluded" or null. */
export const EMPTY = Object.freeze({
  contours: Object.freeze({}), open: null, suggested: null, ed: null, es: null, leftOutEd: [], leftOutEs: [],
  papillary: null,
});

const keyOf = (structure, slice, frame) => `${structure} ${slice} ${frame}`;

function placeOf(key) {
  const [structure, slice, frame] = key.split(" ");
  return { structure, slice: Number(slice), frame: Number(frame) };
}

/** A content with some contours replaced, [{structure, slice, frame, drawing}]; a drawing of null removes one. What is
    drawn is not suggested any more. */
export function withContours(content, changes) {
  const contours = { ...content.contours };
  for (const { structure, slice, frame, drawing } of changes) {
    const key = keyOf(structure, slice, frame);
    if (drawing) contours[key] = Object.freeze(drawing);
    else delete contours[key];
  }
  const drawn = (one) => changes.some(({ structure, slice, drawing }) => (
    drawing && structure === one.structure && slice === one.slice
  ));
  return withoutSuggested({ ...content, contours: Object.freeze(contours) }, drawn);
}

/** A content without the suggested contours of which something holds. */
export function withoutSuggested(content, gone) {
  const { suggested } = content, contours = suggested?.contours.filter((one) => !gone(one));
  if (contours?.length === suggested?.contours.length) return Object.freeze(content);
  return Object.freeze({ ...content, suggested: contours.length ? { ...suggested, contours } : null });
}

/** A content in which what a network has drawn on a frame, {frame, contours}, is suggested in place of what was: of each
    slice the structures that are not drawn there. The content itself where that leaves none. */
export function withSuggested(content, { frame, contours }) {
  const drawn = new Set(contoursOf(content).map(({ structure, slice }) => `${structure} ${slice}`));
  const left = contours.filter(({ structure, slice }) => !drawn.has(`${structure} ${slice}`));
  return left.length ? Object.freeze({ ...content, suggested: { frame, contours: left } }) : content;
}

/** All contours of a content, [{structure, slice, frame, drawing}]. */
export function contoursOf(content) {
  return Object.entries(content.contours).map(([key, drawing]) => ({ ...placeOf(key), drawing }));
}

export class Document {
  constructor(content = EMPTY) {
    this.content = content;
    this.past = []; // [{content, about, at}]
    this.coming = [];
    this.step = null; // an object; the changes of one, such as of a drag, are undone together
  }

  /** about: what was done, in a few words; at: {slice, frame} where it was done. @returns whether anything changed. */
  change(content, about, at, step = null) {
    if (content === this.content) return false;
    if (!step || step !== this.step) this.past.push({ content: this.content, about, at });
    if (this.past.length > STEPS) this.past.shift();
    this.coming = [];
    this.step = step;
    this.content = content;
    return true;
  }

  /** @returns what was undone, {about, at}, or null. */
  undo() {
    return this.#go(this.past, this.coming);
  }

  /** @returns what was done once more, {about, at}, or null. */
  redo() {
    return this.#go(this.coming, this.past);
  }

  #go(from, to) {
    const last = from.pop();
    if (!last) return null;
    to.push({ content: this.content, about: last.about, at: last.at });
    this.content = last.content;
    this.step = null;
    return last;
  }

  contour(structure, slice, frame) {
    return this.content.contours[keyOf(structure, slice, frame)] ?? null;
  }

  /** Contours of a slice, [{structure, slice, frame, drawing}]. */
  onSlice(slice) {
    return contoursOf(this.content).filter((contour) => contour.slice === slice);
  }

  /** Slices on which something is drawn. */
  get slices() {
    return new Set(contoursOf(this.content).map(({ slice }) => slice));
  }

  get empty() {
    return !Object.keys(this.content.contours).length;
  }
}
