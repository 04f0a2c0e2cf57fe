/* The numbers and the curve beside the image. */

import { many } from "./counting.js";
import { Curve } from "./curve.js";

const element = (id) => document.getElementById(id);
const round = (value, digits) => value.toFixed(digits).replace("-", "−");
const known = (value, unit, digits = 0) => (value === null ? "unknown" : `${round(value, digits)} ${unit}`);

/** Of what the volumes are. */
function extent(result, drawn, slices) {
  if (!result.volume) return "No volumes: the cine does not tell the distance between slices.";
  if (drawn < slices && drawn === 1) return `Of one slice alone, of ${slices}: not the ventricle's volumes.`;
  return `Sum of discs over ${drawn === slices ? "all" : `${drawn} of`} ${many(slices, "slice")}.`;
}

export class Panel {
  constructor(jump) {
    this.curve = new Curve(element("curve"), jump);
    this.result = null;
    for (const choice of document.getElementsByName("curve")) choice.addEventListener("change", () => this.#plot());
  }

  /** A result of a cine, or none; its slices and frames are counted as the page does. */
  show(cine, result, counting) {
    Object.assign(this, { cine, result });
    const numbers = result?.numbers;
    const ids = ["ef", "edv", "esv", "sv", "ed", "es", "strain", "folded"];
    const texts = { ...Object.fromEntries(ids.map((id) => [id, "–"])), extent: "" };
    if (numbers) {
      const frame = (number) => (number === null ? "unknown" : `frame ${counting.frame(number)}`);
      texts.ef = known(numbers.ejection_fraction_percent, "%");
      texts.edv = known(numbers.end_diastolic_volume_ml, "ml");
      texts.esv = known(numbers.end_systolic_volume_ml, "ml");
      texts.sv = known(numbers.stroke_volume_ml, "ml");
      texts.ed = frame(numbers.end_diastolic_frame);
      texts.es = frame(numbers.end_systolic_frame);
      texts.strain = known(numbers.peak_circumferential_strain_percent, "%", 1);
      texts.folded = known(numbers.folded_percent, "%", 2);
      texts.extent = extent(result, numbers.slices_drawn, numbers.slices);
    }
    for (const [id, text] of Object.entries(texts)) element(id).textContent = text;
    element("warnings").replaceChildren(...(numbers?.warnings ?? []).map((text) => {
      const item = document.createElement("li");
      item.textContent = counting.said(text);
      return item;
    }));
    const [volume] = document.getElementsByName("curve");
    volume.disabled = Boolean(result && !result.volume);
    if (volume.disabled) document.getElementsByName("curve")[1].checked = true;
    this.#plot();
  }

  /** The slice and the frame that are on screen. */
  at(slice, frame) {
    const areas = this.result?.slices[slice]?.areas;
    element("area").textContent = areas ? `${round(areas[frame] / 100, 2)} cm²` : "–";
    const moved = this.slice !== slice;
    this.slice = slice;
    this.curve.at(frame);
    if (moved) this.#plot();
  }

  #plot() {
    const note = element("curve-note");
    const ofVolume = document.querySelector("[name=curve]:checked").value === "volume";
    const areas = this.result?.slices[this.slice]?.areas.map((area) => area / 100);
    const values = ofVolume ? this.result?.volume : areas;
    note.hidden = Boolean(values);
    if (!values) {
      this.curve.clear();
      const missing = "Draw the lumen on one frame, then propagate it.";
      note.textContent = this.result ? "Nothing is drawn on this slice." : missing;
      return;
    }
    const { end_diastolic_frame: ED, end_systolic_frame: ES } = this.result.numbers;
    this.curve.show(this.cine.times, values, ofVolume ? "ml" : "cm²", { ED, ES });
  }
}
