/* The numbers and the curve beside the image. */

import { many } from "./counting.js";
import { Curve } from "./curve.js";
import { NAMES } from "./document.js";
import { COLOURS } from "./scene.js";

const element = (id) => document.getElementById(id);
const round = (value, digits) => value.toFixed(digits).replace("-", "−");
const capital = (text) => text[0].toUpperCase() + text.slice(1);
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

const MORE = [
  ["Cardiac output", "cardiac_output_l_per_min", "l/min", 1],
  ["Myocardial mass, ED", "myocardial_mass_g", "g", 0],
  ["Wall thickness, ED", "wall_thickness_end_diastole_mm", "mm", 1],
  ["Wall thickness, ES", "wall_thickness_end_systole_mm", "mm", 1],
  ["RV EF", "rv_ejection_fraction_percent", "%", 0],
  ["RV EDV", "rv_end_diastolic_volume_ml", "ml", 0],
  ["RV ESV", "rv_end_systolic_volume_ml", "ml", 0],
];

/** Of a cine whose areas make no volume, what can be told of its plane. */
function tilesOf(cine) {
  if (!cine || (cine.slices > 1 && cine.view !== "long axis")) return VOLUMES;
  return cine.view === "short axis" ? AREAS : LENGTHS;
}

/** Of what the volumes are. */
function extent(result, drawn, slices, tiles) {
  if (tiles !== VOLUMES) return "One plane: no volumes follow from it. Length: the longest extent of the lumen.";
  if (!Object.keys(result.volumes).length) return "No volumes: the cine does not tell the distance between slices.";
  if (drawn < slices && drawn === 1) return `Of one slice alone, of ${slices}: not the ventricle's volumes.`;
  return `Sum of discs over ${drawn === slices ? "all" : `${drawn} of`} ${many(slices, "slice")}.`;
}

export class Panel {
  constructor(jump) {
    this.curve = new Curve(element("curve"), jump);
    this.result = null;
    for (const choice of document.getElementsByName("curve")) choice.addEventListener("change", () => this.#plot());
  }

  /** A result of a cine, or none; its slices and frames are counted as the page does; of a structure there are curves. */
  show(cine, result, counting, structure) {
    Object.assign(this, { cine, result, structure });
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
    this.#showMore(numbers);
    element("warnings").replaceChildren(...(numbers?.warnings ?? []).map((text) => {
      const item = document.createElement("li");
      item.textContent = counting.said(text);
      return item;
    }));
    const [volume, area, length] = document.getElementsByName("curve");
    volume.disabled = tiles !== VOLUMES || Boolean(result && !Object.keys(result.volumes).length);
    length.parentElement.hidden = tiles !== LENGTHS;
    if ((volume.checked && volume.disabled) || (length.checked && tiles !== LENGTHS)) area.checked = true;
    this.#plot();
  }

  /** Numbers that only some drawings have: of the wall, of the right ventricle. */
  #showMore(numbers) {
    const rows = MORE.filter(([, key]) => numbers && numbers[key] !== null);
    element("more").replaceChildren(...rows.flatMap(([name, key, unit, digits]) => {
      const [term, value] = ["dt", "dd"].map((tag) => document.createElement(tag));
      term.textContent = name;
      value.textContent = known(numbers[key], unit, digits);
      value.dataset.number = key;
      return [term, value];
    }));
  }

  /** The slice and the frame that are on screen, and the structure that is drawn. */
  at(slice, frame, structure) {
    const area = this.result?.slices[slice]?.areas[structure]?.[frame];
    element("area").textContent = area === undefined ? "–" : `${round(area / 100, 2)} cm²`;
    element("area-name").textContent = `${capital(NAMES[structure])} on this frame`;
    const moved = this.slice !== slice || this.structure !== structure;
    this.slice = slice;
    this.structure = structure;
    this.curve.at(frame);
    if (moved) this.#plot();
  }

  #plot() {
    const note = element("curve-note");
    const { value } = document.querySelector("[name=curve]:checked"), shown = this.result?.slices[this.slice];
    const [values, unit] = {
      volume: [this.result?.volumes[this.structure], "ml"],
      area: [shown?.areas[this.structure]?.map((area) => area / 100), "cm²"],
      length: [shown?.lengths, "mm"],
    }[value];
    note.hidden = Boolean(values);
    if (!values) {
      this.curve.clear();
      const missing = "Draw the lumen on one frame, then propagate it.";
      const name = NAMES[this.structure], where = value === "volume" ? "" : " on this slice";
      note.textContent = this.result ? `Nothing of the ${name} is followed${where}.` : missing;
      return;
    }
    const { end_diastolic_frame: ED, end_systolic_frame: ES } = this.result.numbers;
    this.curve.show(this.cine.times, values, unit, { ED, ES }, COLOURS[this.structure]);
  }
}
