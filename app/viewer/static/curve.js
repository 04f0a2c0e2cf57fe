/* A curve over the cycle, with end-diastole, end-systole and the current frame marked; a click goes to a frame. */

const INK = { text: "#a3acb8", grid: "#2a3038", mark: "#a3acb8", now: "#ffffff" };
const HEIGHT = 210;

export class Curve {
  constructor(element, jump) {
    Object.assign(this, { element, jump, plot: null, frame: 0 });
    new ResizeObserver(() => this.plot?.setSize({ width: element.clientWidth, height: HEIGHT })).observe(element);
  }

  /** times: in ms, or null to count frames; values: one a frame; marks: frames by name; colour: of the curve. */
  show(times, values, unit, marks, colour) {
    this.clear();
    const x = times ?? values.map((_, frame) => frame + 1);
    const font = "12px system-ui";
    const lines = { stroke: INK.grid, width: 1 };
    const axis = { stroke: INK.text, grid: lines, ticks: lines, font, labelFont: font };
    const options = {
      width: this.element.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { x: true, y: false, drag: { x: false, y: false }, points: { size: 8 } },
      scales: { x: { time: false }, y: { range: (_, least, most) => [0, Math.max(most, 1e-6) * 1.12] } },
      axes: [
        { ...axis, label: times ? "ms" : "frame", labelSize: 16, size: 32, space: 36 },
        { ...axis, label: unit, labelSize: 18, size: 44 },
      ],
      series: [{}, { stroke: colour, width: 2, points: { show: true, size: 5, fill: colour } }],
      hooks: { draw: [(plot) => this.#mark(plot, x, marks)] },
    };
    this.plot = new uPlot(options, [x, values], this.element);
    this.plot.over.addEventListener("click", () => this.jump(this.plot.cursor.idx));
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
  }

  at(frame) {
    this.frame = frame;
    this.plot?.redraw(false);
  }

  #mark(plot, x, marks) {
    const { ctx: context, bbox } = plot;
    const line = (frame, colour, dash) => {
      const along = Math.round(plot.valToPos(x[frame], "x", true));
      context.strokeStyle = colour;
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(along, bbox.top);
      context.lineTo(along, bbox.top + bbox.height);
      context.stroke();
      return along;
    };
    context.save();
    context.lineWidth = devicePixelRatio;
    context.font = `${12 * devicePixelRatio}px system-ui`;
    context.fillStyle = INK.mark;
    context.textBaseline = "top";
    for (const [name, frame] of Object.entries(marks)) {
      if (frame === null) continue;
      const along = line(frame, INK.mark, [3, 4]);
      const late = frame > x.length / 2;
      context.textAlign = late ? "right" : "left";
      context.fillText(name, along + (late ? -4 : 4) * devicePixelRatio, bbox.top + 2);
    }
    if (this.frame < x.length) line(this.frame, INK.now, []);
    context.restore();
  }
}
