/* The work on one cine: its drawing with all steps, and what follows from it. */

import { contoursOf, Document, EMPTY, withContours } from "./document.js";
import { ringsOf } from "./contour.js";

const FOLLOWED = ["contours", "ed", "es", "leftOutEd", "leftOutEs", "papillary"]; // parts that results depend on

/** A content as the server takes it. */
export function sent(content, size) {
  const contours = contoursOf(content).map(({ structure, slice, frame, drawing }) => ({
    structure, slice, frame, rings: ringsOf(drawing, size), points: drawing.points, by: drawing.by,
  }));
  const { ed, es, leftOutEd, leftOutEs, papillary } = content;
  return { contours, ed, es, left_out_ed: leftOutEd, left_out_es: leftOutEs, papillary };
}

/** The other way. */
export function received({
  contours, open = null, suggested = null, ed, es, left_out_ed: leftOutEd, left_out_es: leftOutEs, papillary,
}) {
  return withContours({ ...EMPTY, open, suggested, ed, es, leftOutEd, leftOutEs, papillary }, contours.map(asChange));
}

/** A contour of the server as a change of a content. */
export function asChange({ structure, slice, frame, points, rings, by }) {
  return { structure, slice, frame, drawing: { ...(points ? { points } : { rings }), ...(by && { by }) } };
}

export class Work {
  constructor(cine) {
    this.cine = cine;
    this.document = new Document();
    this.following = false; // whether changes are followed as they are made
    this.result = null; // as the server followed the drawing
    this.followed = null; // the content that the result is of
    this.asked = null; // the content that the server follows now
    this.failed = null; // the content that it could not follow
    this.structure = "lumen"; // that is drawn
    this.slice = this.frame = 0; // that are shown
    this.version = 0; // of the session on the server that this goes on from
    this.unsaved = false;
  }

  get content() {
    return this.document.content;
  }

  /** Slices with a contour that a network has suggested, and nobody has taken or dismissed. */
  get suggestedSlices() {
    return new Set(this.content.suggested?.contours.map(({ slice }) => slice));
  }

  /** The rings that are suggested of a structure there, or null. */
  suggestion(structure, slice, frame) {
    const { suggested } = this.content;
    if (suggested?.frame !== frame) return null;
    return suggested.contours.find((one) => one.structure === structure && one.slice === slice)?.rings ?? null;
  }

  /** Whether the drawing has changed since it was followed. */
  get outdated() {
    return this.following && !this.document.empty && !this.#same(this.followed);
  }

  /** Whether there is reason to ask the server for it. */
  get waiting() {
    return this.outdated && !this.#same(this.failed);
  }

  #same(content) {
    return content !== null && FOLLOWED.every((part) => content[part] === this.content[part]);
  }

  /** The server's answer about a content; of slices that had not changed its contours are those of an earlier one. */
  take(answer, content, earlier) {
    for (const [number, slice] of Object.entries(answer.slices)) slice.contours ??= earlier.slices[number].contours;
    this.result = answer;
    this.followed = content;
  }

  /** What a structure of a slice was followed to, rings of each frame; none where nothing is drawn any more. */
  rings(structure, slice) {
    const followed = this.result?.slices[slice]?.contours[structure];
    return followed && this.document.onSlice(slice).some((contour) => contour.structure === structure) ? followed : null;
  }
}
