/* Keeps the work: within a second on the server, in a session file beside the results; until the server has it, in this
   browser. */

import * as server from "./server.js";
import { sent } from "./work.js";

const SOON = 500; // ms after a change
const AGAIN = 2000; // ms after a failure
const ME = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`; // this window

/** Where the browser keeps the work of a cine: another folder may have one of the same name. */
const place = (cine) => `dirnet ${cine.id} ${cine.stamp}`;

export class Keeper {
  /** `kept(work)`: the server has it now; `failed(work, error)`: it has not, and will be asked again; `taken(work)`:
      another window has changed it, which is answered by whether this one's counts. */
  constructor(calls) {
    this.calls = calls;
    this.timers = new Map();
    this.works = new Set(); // that the server does not have
    addEventListener("beforeunload", (event) => this.works.size && event.preventDefault());
    addEventListener("online", () => this.works.forEach((work) => this.#send(work)));
  }

  /** After each change. */
  changed(work) {
    work.unsaved = true;
    this.works.add(work);
    this.#keepHere(work);
    if (!this.timers.has(work)) this.timers.set(work, setTimeout(() => this.#send(work), SOON));
  }

  /** What the browser has of a cine that the server has not: a session, or null. */
  left(cine) {
    try {
      return JSON.parse(localStorage.getItem(place(cine)));
    } catch {
      return null;
    }
  }

  forget(cine) {
    localStorage.removeItem(place(cine));
  }

  #session(work) {
    const { content, cine, structure, slice, frame, following, version } = work;
    const shown = { structure, slice, frame };
    const { open, suggested } = content;
    return { ...sent(content, cine.size), open, suggested, following, shown, window: ME, after: version };
  }

  #keepHere(work) {
    const session = { ...this.#session(work), saved: new Date().toISOString() };
    try {
      localStorage.setItem(place(work.cine), JSON.stringify(session));
    } catch { // it is full, or not to be had: the server remains
    }
  }

  async #send(work, force = false) {
    clearTimeout(this.timers.get(work));
    this.timers.delete(work);
    if (!work.unsaved || work.keeping) return;
    work.keeping = true;
    work.unsaved = false;
    let again = SOON;
    try {
      const { version } = await server.keepSession(work.cine.id, { ...this.#session(work), force });
      work.version = version;
      if (!work.unsaved) {
        this.works.delete(work);
        this.forget(work.cine);
        this.calls.kept(work);
      } // else there is more to send already
    } catch (error) {
      work.unsaved = true;
      again = AGAIN;
      if (error.status === 409) {
        work.keeping = false;
        if (await this.calls.taken(work)) return this.#send(work, true);
        this.works.delete(work);
        work.unsaved = false;
        this.forget(work.cine);
        return;
      }
      this.calls.failed(work, error);
    } finally {
      work.keeping = false;
    }
    if (work.unsaved && !this.timers.has(work)) this.timers.set(work, setTimeout(() => this.#send(work), again));
  }
}
