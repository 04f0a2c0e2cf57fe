/* How slices and frames are counted: here from 1, slices from the base on where it is known, as clinics do; by the
   server, in files and on the command line from 0, as they are stored. Nothing else converts one into the other. */

export class Counting {
  /** Of a cine as the server describes it. */
  constructor({ slices, frames, base }) {
    Object.assign(this, { slices, frames, base });
    const stored = Array.from({ length: slices }, (_, slice) => slice);
    this.order = base === "last" ? stored.reverse() : stored; // stored slices as they are shown
  }

  slice(stored) {
    return this.order.indexOf(stored) + 1;
  }

  frame(stored) {
    return stored + 1;
  }

  /** The slice that is so many further on towards the apex, or null beyond the end. */
  onwards(stored, steps) {
    return this.order[this.slice(stored) - 1 + steps] ?? null;
  }

  /** What the server says, in the page's numbers: "slices 0, 2" and "frame 7". */
  said(text) {
    return text.replace(/\b(slices?|frames?) (\d+(?:, \d+)*)\b/g, (_, word, numbers) => {
      const shown = numbers.split(", ").map((number) => this[word.startsWith("s") ? "slice" : "frame"](Number(number)));
      return `${word} ${shown.sort((a, b) => a - b).join(", ")}`;
    });
  }
}

/** "1 slice", "2 slices". */
export const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
