/* The numbers and the curve beside the image. */

import { many } from "./counting.js";
import { Curve } from "./curve.js";

const element = (id) => document.getElementById(id);
const round = (value, digits) => value.toFixed(digits).replace("-", "−");
const known = (value, unit, digits = 0) => (value === null ? "unknown" : `${round(value, digits)} ${unit}`);

/** What the four tiles hold: a name, a key of the numbers, a unit, and the unit of the number where it is another. */
const VOLUMES = [
  ["EF", "ejection_fraction_percent", "%"], ["EDV", "end_diastolic_volume_ml", "ml"],
  ["ESV", "end_systolic_volume_ml", "ml"], ["SV", "stroke_volume_ml", "ml"],
];
const LENGTHS = [
  ["Change of length", "plane_length_change_percent", "%"], ["Length, ED", "plane_length_end_diastole_mm", "mm"],
  ["Length, ES", "plane_length_end_systole_mm", "mm"], ["Area", "plane_area_change_percent", "%"],
];
const AREAS = [
  ["Change of area", "plane_area_change_percent", "%"], ["Area, ED", "plane_area_end_diastole_mm2", "cm²", 100],
  ["Area, ES", "plane_area_end_systole_mm2", "cm²", 100], ["", null, ""],
];

/** Of a cine whose areas make no volume, what can be told of its plane. */
function tilesOf(cine) {
  if (!cine || (cine.slices > 1 && cine.view !== "long axis")) return VOLUMES;
  return cine.view === "short axis" ? AREAS : LENGTHS;
}

/** Of what the volumes are. */
function extent(result, drawn, slices, tiles) {
  if (tiles !== VOLUMES) return "One plane: no volumes follow from it. Length: the longest extent of the lumen.";
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
    const ids = ["ed", "es", "strain", "folded"];
    const tiles = tilesOf(cine);
    ["ef", "edv", "esv", "sv"].forEach((id, k) => {
      const [name, key, unit, per = 1] = tiles[k];
      const value = key && numbers ? numbers[key] : null;
      element(`${id}-name`).textContent = name;
      const digits = per > 1 ? 1 : 0;
      element(id).textContent = !key ? "" : !numbers ? "–" : known(value === null ? null : value / per, unit, digits);
    });
    const texts = { ...Object.fromEntries(ids.map((id) => [id, "–"])), extent: "" };
    if (numbers) {
      const frame = (number) => (number === null ? "unknown" : `frame ${counting.frame(number)}`);
      texts.ed = frame(numbers.end_diastolic_frame);
      texts.es = frame(numbers.end_systolic_frame);
      texts.strain = known(numbers.peak_circumferential_strain_percent, "%", 1);
      texts.folded = known(numbers.folded_percent, "%", 2);
      texts.extent = extent(result, numbers.slices_drawn, numbers.slices, tiles);
    }
    for (const [id, text] of Object.entries(texts)) element(id).textContent = text;
    element("warnings").replaceChildren(...(numbers?.warnings ?? []).map((text) => {
      const item = document.createElement("li");
      item.textContent = counting.said(text);
      return item;
    }));
    const [volume, area, length] = document.getElementsByName("curve");
    volume.disabled = tiles !== VOLUMES || Boolean(result && !result.volume);
    length.parentElement.hidden = tiles !== LENGTHS;
    if ((volume.checked && volume.disabled) || (length.checked && tiles !== LENGTHS)) area.checked = true;
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
    const { value } = document.querySelector("[name=curve]:checked"), shown = this.result?.slices[this.slice];
    const [values, unit] = {
      volume: [this.result?.volume, "ml"], area: [shown?.areas.map((area) => area / 100), "cm²"],
      length: [shown?.lengths, "mm"],
    }[value];
    note.hidden = Boolean(values);
    if (!values) {
      this.curve.clear();
      const missing = "Draw the lumen on one frame, then propagate it.";
      note.textContent = this.result ? "Nothing is drawn on this slice." : missing;
      return;
    }
    const { end_diastolic_frame: ED, end_systolic_frame: ES } = this.result.numbers;
    this.curve.show(this.cine.times, values, unit, { ED, ES });
  }
}
