/* Plays frames in a loop, at the heart's own rate where it is known. */

const USUAL = 50; // ms from one frame to the next

export class Player {
  constructor(step) {
    Object.assign(this, { step, playing: false });
  }

  start(frames, times) {
    this.stop();
    this.playing = true;
    const period = times ? (times.at(-1) - times[0]) / (frames - 1) : USUAL;
    let due = performance.now() + period;
    const tick = (now) => {
      if (!this.playing) return;
      if (now >= due) {
        this.step();
        due = Math.max(due + period, now); // what a slow machine misses is not made up for
      }
      this.request = requestAnimationFrame(tick);
    };
    this.request = requestAnimationFrame(tick);
  }

  stop() {
    this.playing = false;
    cancelAnimationFrame(this.request);
  }
}
