/* The viewer: what is shown, and what each button and key does. */

import { Compare } from "./compare.js";
import { Counting, many } from "./counting.js";
import { Editor, ringsOf } from "./editor.js";
import { Overview } from "./overview.js";
import { confirmed, listChoices, listCines, markChosen, onKeys, say, showStudy, toggle } from "./page.js";
import { Panel } from "./panel.js";
import { Player } from "./player.js";
import { COLOURS, Scene } from "./scene.js";
import * as server from "./server.js";
import { Window } from "./window.js";

const element = (id) => document.getElementById(id);
const MOTIONS = ["off", "arrows", "grid"];
const BLINK = 500; // ms

const grey = new Window(refresh);
const windowed = (right, down) => grey.drag(right, down);
const scene = new Scene(element("stage"), { windowed });
const compare = new Compare(scene, { windowed, changed: refresh, activated: swapPanes });
const overview = new Overview(goToSlice);
const panel = new Panel((frame) => goTo(frame));
const player = new Player(() => goTo((frame + 1) % cine.frames, true));
const editor = new Editor(scene, { changed: drawingChanged, ended: refresh });

let cine = null; // as the server describes it, with its id and name
let counting = null; // of its slices and frames; all else here has the server's numbers
let slice = 0, frame = 0;
let drawings = new Map(); // by slice, all on one frame
let drawnFrame = null;
let result = null; // of the drawings, as the server followed them
let edition = 0; // of the drawings: what was asked for an earlier one is out of date
let wanted = null; // id of the cine that was chosen last
let loading = null; // file of the mask that was chosen last
let motion = "off";
let blinking = null, warpedShown = false; // the timer, and which of the two is on screen
let busy = false;
const loaded = new Map(); // frames, warped frames and fields by what and slice, as promises
const ready = new Map(); // the same, those that have come

/** What the server has of a slice: at once if it is there, else null and shown when it comes. */
function get(what, read) {
  const key = `${what} ${slice}`;
  if (!loaded.has(key)) {
    const request = read(cine.id, slice, result?.result);
    loaded.set(key, request);
    request.then(
      (data) => { if (loaded.get(key) === request) { ready.set(key, data); refresh(); } },
      (error) => { if (loaded.get(key) === request) say(error.message, "wrong"); },
    );
  }
  return ready.get(key) ?? null;
}

function forget(...whats) {
  for (const kept of [loaded, ready]) {
    for (const key of kept.keys()) if (whats.includes(key.split(" ")[0])) kept.delete(key);
  }
}

async function open(id, name) {
  if (editor.open) editor.cancel();
  player.stop();
  say(`Reading ${name} …`, "busy");
  markChosen(id);
  wanted = id;
  try {
    const described = await server.describe(id);
    if (wanted !== id) return;
    if (described.choices) {
      listChoices(id, described.choices, (choice) => open(choice.id, `${name} / ${choice.name}`));
      markChosen(cine?.id);
      return say(`${name} holds ${described.choices.length} cines: choose one.`);
    }
    if (editor.open) editor.cancel(); // begun on the cine before, while this one was read
    player.stop();
    cine = { id, name, ...described };
    counting = new Counting(cine);
  } catch (error) {
    if (wanted !== id) return;
    markChosen(cine?.id);
    return say(error.message, "wrong");
  }
  drawings = new Map();
  slice = counting.order[Math.floor((cine.slices - 1) / 2)];
  frame = 0;
  drawnFrame = null;
  forget("frames");
  dropResult();
  scene.open(cine.size, cine.spacing, cine.region);
  compare.open(cine);
  overview.open(cine, counting);
  element("frame").max = cine.frames;
  showStudy(cine);
  const [row, column] = cine.spacing.map((step) => step.toFixed(2));
  const extent = `${many(cine.slices, "slice")}, ${many(cine.frames, "frame")}`;
  say(`${extent}, pixels of ${row} × ${column} mm. Draw the lumen on one frame.`);
  grey.open(cine);
  showSmall(cine);
}

/** The row of slices, once the slice itself has come. */
async function showSmall(asked) {
  try {
    await loaded.get(`frames ${slice}`);
    const images = await server.readSmall(asked.id);
    if (cine !== asked) return;
    overview.take(images);
    refresh();
  } catch (error) {
    if (cine === asked) say(error.message, "wrong");
  }
}

/** Show all as it is now. */
function refresh() {
  if (!cine) return;
  const followed = result?.slices[slice];
  const frames = get("frames", server.readFrames);
  const warped = followed && blinking ? get("warped", server.readWarped) : null;
  const moved = followed && motion !== "off" ? get("field", server.readField) : null;
  const asWarped = Boolean(warped && warpedShown);
  const pixels = asWarped ? warped : frames;
  const count = cine.size[0] * cine.size[1];
  const at = (images, number) => images.subarray(number * count, (number + 1) * count);
  if (pixels) scene.show(at(pixels, frame), grey.table);

  const drawing = frame === drawnFrame && !editor.open ? drawings.get(slice) : undefined;
  const part = moved?.length / cine.frames;
  const field = moved && {
    mode: motion, step: result.field_step, moved: moved.subarray(frame * part, (frame + 1) * part),
  };
  scene.mark(editor.open ? [] : outlines(slice, frame), field);
  if (compare.on && frames) {
    compare.show(at(frames, compare.frame), grey.table, outlines(slice, compare.frame), counting, cine.times);
  }
  editor.edit(!player.playing && !blinking && drawing ? drawing : null);
  describeShown(asWarped);
  overview.show({
    frame, slice, table: grey.table, outlines: (number) => outlines(number, frame),
    drawn: (number) => drawings.has(number),
    doubtful: (number) => Boolean(result?.slices[number]?.doubtful),
  });
  panel.at(slice, frame);
  enable();
}

/** What lies on a frame of a slice: as drawn, else as followed. */
function outlines(number, at) {
  const drawing = at === drawnFrame ? drawings.get(number) : undefined;
  if (drawing) return [{ rings: ringsOf(scene, drawing), colour: COLOURS.drawn }];
  const rings = result?.slices[number]?.contours[at];
  return rings ? [{ rings, colour: COLOURS.followed }] : [];
}

function describeShown(asWarped) {
  const time = cine.times ? `, ${Math.round(cine.times[frame])} ms` : "";
  const number = counting.frame(frame), end = overview.endOf(slice);
  element("where").textContent = `${cine.name} · slice ${counting.slice(slice)} of ${cine.slices}${end && `, ${end}`}`;
  element("stored").textContent = `in files: slice ${slice}, frame ${frame}`;
  const drawn = asWarped && counting.frame(result.frame);
  element("shown").textContent = asWarped ? `frame ${drawn} warped onto ${number}` : `frame ${number}`;
  element("grey").textContent = String(grey);
  element("time").textContent = `frame ${number} of ${cine.frames}${time}`;
  element("frame").value = number;
  element("frame").setAttribute("aria-valuetext", `frame ${number} of ${cine.frames}${time}`);
  element("legend").hidden = !drawings.size;
  document.querySelector("#legend .moved").hidden = motion === "off";
  element("field-mode").textContent = motion;
  element("play").textContent = player.playing ? "❚❚" : "▶";
  element("play").setAttribute("aria-label", player.playing ? "Stop" : "Play");
}

function enable() {
  const may = {
    draw: true, load: true, play: true, frame: true, heart: true, fit: true, windowing: true, reset: true,
    compare: true, gallery: cine.slices > 1,
    clear: drawings.has(slice), propagate: drawings.size && !busy && !editor.open,
    blink: result, field: result, save: result && !busy,
  };
  for (const [id, yes] of Object.entries(may)) element(id).disabled = !yes;
  element("draw").setAttribute("aria-pressed", String(editor.open !== null));
  element("blink").setAttribute("aria-pressed", String(blinking !== null));
}

function goTo(next, asPlayed = false) {
  if (!cine || editor.open || next === null) return;
  if (!asPlayed) player.stop();
  else compare.step();
  frame = (next + cine.frames) % cine.frames;
  refresh();
}

function goToSlice(next) {
  if (!cine || next === null) return;
  if (editor.open) editor.cancel();
  slice = next;
  refresh();
  overview.reveal(slice);
}

const step = (frames) => cine && goTo(frame + frames);
const stepSlice = (slices) => cine && goToSlice(counting.onwards(slice, slices));

/** End-diastole here and end-systole beside it, or one image alone. */
function comparePhases() {
  if (!cine || editor.open) return;
  player.stop();
  if (compare.on) compare.close();
  else {
    const { end_diastolic_frame: ed = null, end_systolic_frame: es = null } = result?.numbers ?? {};
    if (ed !== null) frame = ed;
    compare.begin(es ?? overview.mostUnlike(frame));
  }
  toggle("compare", compare.on);
  refresh();
}

/** The other of two images was clicked: it is the one to draw on now. */
function swapPanes() {
  if (!cine || editor.open) return;
  player.stop();
  [frame, compare.frame] = [compare.frame, frame];
  refresh();
}

function changeMode(name) {
  if (!cine) return;
  toggle(name, element("stage").closest("main").classList.toggle(name));
}

function resetImage() {
  if (!cine) return;
  grey.reset();
  scene.fit(cine.region);
}

function play() {
  if (!cine || editor.open) return;
  player.playing ? player.stop() : player.start(cine.frames, cine.times);
  refresh();
}

async function draw() {
  if (!cine) return;
  if (editor.open) return editor.cancel();
  player.stop();
  stopBlinking();
  if (!(await mayDrawHere())) return refresh();
  editor.begin();
  say("Click along the border of the lumen; close it by a click on the first point, or Enter.");
  refresh();
}

/** All contours are of one frame: another one starts anew. */
async function mayDrawHere() {
  if (!drawings.size || frame === drawnFrame) return true;
  const asked = edition;
  const number = drawings.size === 1 ? "The contour" : `The ${drawings.size} contours`;
  const from = counting.frame(drawnFrame), to = counting.frame(frame);
  if (!(await confirmed(`${number} on frame ${from} will be removed to draw on frame ${to}.`, "Remove"))) return false;
  if (asked !== edition) return false; // the answer was about other contours
  drawings.clear();
  dropResult();
  return true;
}

function drawingChanged(drawing) {
  drawing ? drawings.set(slice, drawing) : drawings.delete(slice);
  drawnFrame = frame;
  const outdated = result !== null;
  dropResult();
  if (outdated) say("The drawing has changed: propagate it again.");
  else if (drawing) say("Drag points to correct it. Draw on more slices of this frame, or propagate.");
  refresh();
}

function clearSlice() {
  if (drawings.delete(slice)) dropResult();
  refresh();
}

function dropResult() {
  edition += 1;
  result = null;
  motion = "off";
  stopBlinking();
  forget("warped", "field");
  panel.show(cine, null);
}

/** The contours of a file, taken for the frame that is shown as it is chosen. */
async function loadMask(file) {
  if (!file || !cine) return;
  player.stop();
  if (!(await mayDrawHere())) return refresh();
  if (editor.open) editor.cancel();
  const asked = edition, at = frame, { id } = cine;
  loading = file;
  say(`Reading ${file.name} …`, "busy");
  refresh();
  try {
    const read = await server.readMask(id, at, file, element("labels").value.trim());
    if (cine.id !== id || loading !== file) return;
    if (asked !== edition || editor.open) throw new Error(`${file.name} was not taken: the drawing has changed since.`);
    player.stop();
    dropResult();
    drawings = new Map(Object.entries(read.slices).map(([number, rings]) => [Number(number), { rings }]));
    drawnFrame = frame = read.frame; // its own, where it has one
    if (!drawings.has(slice)) slice = [...drawings.keys()][Math.floor(drawings.size / 2)];
    const taken = `taken for frame ${counting.frame(read.frame)}`;
    const extent = `drawn on ${drawings.size} of ${many(cine.slices, "slice")}, ${taken}`;
    say(`${file.name}: ${extent}. Click on a contour to correct it.`);
  } catch (error) {
    if (cine.id === id && loading === file) say(counting.said(error.message), "wrong");
  }
  refresh();
}

async function propagate() {
  if (!drawings.size || busy || editor.open) return;
  const asked = edition, { id } = cine;
  const contours = Object.fromEntries([...drawings].map(([number, drawing]) => [number, ringsOf(scene, drawing)]));
  busy = true;
  say(`Following the contour on ${many(drawings.size, "slice")} …`, "busy");
  enable();
  try {
    const followed = await server.follow(id, drawnFrame, contours);
    if (cine.id !== id) return;
    if (asked !== edition) return say("The drawing has changed: propagate it again.");
    result = followed;
    overview.ends(cine.base ?? baseBySize(followed));
    panel.show(cine, result, counting);
    say(`Followed through ${cine.frames} frames. Space plays; B blinks each frame with the drawn one warped onto it.`);
  } catch (error) {
    if (cine.id === id) say(counting.said(error.message), "wrong");
  } finally {
    busy = false;
    refresh();
  }
}

/** Which end is the base where the slices' places do not tell: that of the larger lumens, if it is clear. */
function baseBySize({ slices, numbers }) {
  const drawn = Object.keys(slices).map(Number).sort((a, b) => a - b);
  if (drawn.length < 3) return null;
  const areas = drawn.map((number) => slices[number].areas[numbers.end_diastolic_frame ?? 0]);
  const third = Math.ceil(drawn.length / 3), sum = (part) => part.reduce((total, area) => total + area, 0);
  const first = sum(areas.slice(0, third)), last = sum(areas.slice(-third));
  if (Math.max(first, last) < 1.15 * Math.min(first, last)) return null;
  return first > last ? "first" : "last";
}

function blink() {
  if (!result) return;
  if (blinking) stopBlinking();
  else blinking = setInterval(() => { warpedShown = !warpedShown; refresh(); }, BLINK);
  refresh();
}

function stopBlinking() {
  clearInterval(blinking);
  blinking = null;
  warpedShown = false;
}

function changeMotion() {
  if (!result) return;
  motion = MOTIONS[(MOTIONS.indexOf(motion) + 1) % MOTIONS.length];
  refresh();
}

async function save() {
  const { id, name } = cine, { result: number } = result; // another cine may be open when the answer comes
  busy = true;
  enable();
  say("Saving …", "busy");
  try {
    const { folder, files } = await server.save(id, number, false).catch(async (error) => {
      const taken = error.status === 409;
      if (!taken || !(await confirmed(`${name}: ${error.message}: replace them?`, "Replace"))) throw error;
      return server.save(id, number, true);
    });
    say(`Saved in ${folder}: ${files.join(", ")}`);
  } catch (error) {
    say(error.message, "wrong");
  } finally {
    busy = false;
    refresh();
  }
}

function escape() {
  if (!editor.open) return false;
  editor.cancel();
  say("The contour was not closed, and is dropped.");
}

function enter() {
  if (!editor.open) return false;
  if (!editor.close()) say("A contour needs three points or more.", "wrong");
}

const clicks = {
  draw, propagate, blink, play, clear: clearSlice, field: changeMotion, save,
  heart: () => cine && scene.fit(cine.region), fit: () => scene.fit(), reset: resetImage, compare: comparePhases,
  windowing: () => changeMode("windowing"), gallery: () => changeMode("gallery"),
  load: () => element("mask").click(), "help-open": () => element("help").showModal(),
};
for (const [id, action] of Object.entries(clicks)) element(id).addEventListener("click", () => action());
element("frame").addEventListener("input", ({ target }) => goTo(Number(target.value) - 1));
element("named").addEventListener("change", ({ target }) => {
  document.body.classList.toggle("unnamed", !target.checked);
});
element("panes").addEventListener("dblclick", () => !editor.open && resetImage());
element("mask").addEventListener("change", ({ target }) => {
  loadMask(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});
onKeys({
  " ": play, ArrowLeft: () => step(-1), ArrowRight: () => step(1),
  ArrowUp: () => stepSlice(-1), ArrowDown: () => stepSlice(1),
  d: draw, p: propagate, b: blink, f: changeMotion, "?": clicks["help-open"],
  h: clicks.heart, 0: clicks.fit, r: resetImage, w: clicks.windowing, e: comparePhases, g: clicks.gallery,
  n: () => element("named").click(), "+": () => scene.zoom(1), "=": () => scene.zoom(1), "-": () => scene.zoom(-1),
  Enter: enter, Escape: escape, Delete: () => editor.removeTouched(), Backspace: () => editor.removeTouched(),
}, {
  ArrowLeft: () => scene.shift(-1, 0), ArrowRight: () => scene.shift(1, 0),
  ArrowUp: () => scene.shift(0, -1), ArrowDown: () => scene.shift(0, 1),
});

server.listCines().then((cines) => listCines(cines, open), (error) => say(error.message, "wrong"));
