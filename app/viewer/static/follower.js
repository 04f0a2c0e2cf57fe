/* Has drawings followed by the server, and again after each change; of a cine one request at a time. */

import * as server from "./server.js";
import { sent } from "./work.js";

const PAUSE = 300; // ms after a change, in which more of them may come

export class Follower {
  /** `began(work)`, `advanced(work, {done, all})`, `ended(work, error)`: the error is null when a result came. */
  constructor(calls) {
    this.calls = calls;
    this.timers = new Map();
    this.waiting = new Map(); // who waits for the end, by work
  }

  /** After a change: follow it soon. */
  changed(work) {
    if (!work.following) return;
    clearTimeout(this.timers.get(work));
    this.timers.set(work, setTimeout(() => this.now(work), PAUSE));
  }

  /** Follow what has not been followed yet. */
  async now(work) {
    clearTimeout(this.timers.get(work));
    if (work.asked) return;
    if (!work.waiting) return this.#settle(work);
    const { content, result: earlier, cine } = work;
    work.asked = content;
    this.calls.began(work);
    const told = (progress) => this.calls.advanced(work, progress);
    let failure = null;
    try {
      const request = server.follow(cine.id, sent(content, cine.size), earlier?.result);
      work.take(await server.watched(cine.id, "follow", request, told), content, earlier);
    } catch (error) {
      work.failed = content;
      failure = error;
    }
    work.asked = null;
    this.calls.ended(work, failure);
    this.now(work);
  }

  /** Until what is drawn is followed, or cannot be. */
  async settled(work) {
    if (!work.asked && !work.waiting) return;
    const end = new Promise((resolve) => this.waiting.set(work, [...(this.waiting.get(work) ?? []), resolve]));
    this.now(work);
    await end;
  }

  #settle(work) {
    for (const resolve of this.waiting.get(work) ?? []) resolve();
    this.waiting.delete(work);
  }
}
