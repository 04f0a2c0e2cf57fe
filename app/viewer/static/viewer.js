/* The viewer: what is shown, and what each button and key does. */

import { buttons } from "./buttons.js";
import { Compare } from "./compare.js";
import { ringsOf } from "./contour.js";
import { Counting, many } from "./counting.js";
import { NAMES, STRUCTURES } from "./document.js";
import { Editor } from "./editor.js";
import { Follower } from "./follower.js";
import { Keeper } from "./keeper.js";
import { Overview } from "./overview.js";
import {
  confirmed, keepFile, listChoices, listCines, markChosen, onKeys, say, showKept, showStudy, toggle, when,
} from "./page.js";
import { Panel } from "./panel.js";
import { Pen } from "./pen.js";
import { Player } from "./player.js";
import { COLOURS, Scene } from "./scene.js";
import * as server from "./server.js";
import { Ticks } from "./ticks.js";
import { Window } from "./window.js";
import { received, Work } from "./work.js";

const element = (id) => document.getElementById(id);
const MOTIONS = ["off", "arrows", "grid"];
const BLINK = 500; // ms
const LINES = { drawn: { width: 3 }, followed: { width: 2 }, suggested: { width: 2, dash: [6, 4] } };
const FAINT = 0.35; // opacity of a contour that is left out

const grey = new Window(refresh);
const windowed = (right, down) => grey.drag(right, down);
const scene = new Scene(element("stage"), { windowed });
const compare = new Compare(scene, { windowed, changed: refresh, activated: swapPanes });
const overview = new Overview(goToSlice);
const panel = new Panel((frame) => goTo(frame));
const ticks = new Ticks((frame) => goTo(frame));
const player = new Player(() => goTo((work.frame + 1) % work.cine.frames, true));
const follower = new Follower({ began, advanced, ended });
const keeper = new Keeper({ kept: (kept) => kept === work && showKept("kept"), failed: notKept, taken });

let work = null; // of the cine that is shown
let counting = null; // of its slices and frames; all else here has the server's numbers
let opening = null; // {id} of the cine that was chosen last, until it is shown
let loading = null; // files of the mask that was chosen last
let motion = "off";
let blinking = null, warpedShown = false; // the timer, and which of the two is on screen
let saving = false, suggesting = false;
const works = new Map(); // by id of the cine, as long as the page is open
const loaded = new Map(); // frames, warped frames and fields by what and slice, as promises
const ready = new Map(); // the same, those that have come

const pen = new Pen({
  get work() { return work; },
  get counting() { return counting; },
  get there() { return !unread(); },
  rings: (structure) => outlines(work.slice, work.frame).find((line) => line.structure === structure)?.rings ?? null,
  changed, refresh,
  go: ({ slice, frame }) => Object.assign(work, { slice, frame }),
});
const editor = new Editor(scene, {
  changed: (structure, points, step) => pen.mended(structure, points, step), dropped: refresh,
  opened: (points) => pen.opened(points), closed: () => pen.close(),
  chosen: (structure) => pen.choose(structure), refused: (why) => say(why, "wrong"),
});

/** What the server has of a slice, the one that is shown: at once if it is there, else null and shown when it comes. */
function get(what, read, slice = work.slice) {
  const key = `${what} ${slice}`;
  if (!loaded.has(key)) {
    const request = read(work.cine.id, slice, work.result?.result);
    loaded.set(key, request);
    request.then(
      (data) => {
        if (loaded.get(key) !== request) return;
        ready.set(key, data);
        if (slice === work.slice) refresh();
      },
      (error) => {
        if (loaded.get(key) !== request) return;
        loaded.delete(key); // it is asked for again as it is looked at
        if (slice !== work.slice) return;
        enable();
        say(error.message, "wrong");
      },
    );
  }
  return ready.get(key) ?? null;
}

/** Fetch the slices beside the one that is shown once that is there: they are probably looked at next. */
async function readAhead() {
  const asked = work, { slice } = work;
  await loaded.get(`frames ${slice}`)?.catch(() => null);
  if (work !== asked || work.slice !== slice) return;
  for (const steps of [1, -1]) {
    const next = counting.onwards(slice, steps);
    if (next !== null) get("frames", server.readFrames, next);
  }
}

function forget(...whats) {
  for (const kept of [loaded, ready]) {
    for (const key of kept.keys()) if (whats.includes(key.split(" ")[0])) kept.delete(key);
  }
}

async function open(id, name) {
  if (opening?.id === id) return;
  const asked = opening = { id };
  player.stop();
  say(`Reading ${name} …`, "busy");
  markChosen(id);
  let next, restored;
  try {
    const described = await server.describe(id);
    if (opening !== asked) return;
    if (described.choices) {
      listChoices(id, described.choices, (choice) => open(choice.id, `${name} / ${choice.name}`));
      markChosen(work?.cine.id);
      return say(`${name} holds ${described.choices.length} cines: choose one.`);
    }
    const cine = { id, name, ...described };
    next = works.get(id);
    if (next?.cine.stamp !== cine.stamp) [next, restored] = await begin(cine);
    if (opening !== asked) return;
    player.stop();
  } catch (error) {
    if (opening !== asked) return;
    markChosen(work?.cine.id);
    return say(error.message, "wrong");
  } finally {
    if (opening === asked) opening = null;
  }
  stopBlinking();
  motion = "off";
  forget("frames", "warped", "field");
  works.set(id, next);
  work = next;
  const { cine } = work;
  counting = new Counting(cine);
  scene.open(cine.size, cine.spacing, cine.region);
  compare.open(cine);
  overview.open(cine, counting);
  ticks.open(cine, counting);
  element("frame").max = cine.frames;
  showStudy(cine);
  showKept(work.unsaved ? "unsaved" : work.version ? "kept" : "");
  showResult();
  const [row, column] = cine.spacing.map((step) => step.toFixed(2));
  const extent = `${many(cine.slices, "slice")}, ${many(cine.frames, "frame")}`;
  const size = `${extent}, pixels of ${row} × ${column} mm.`;
  say(`${size} ${restored ?? (work.document.empty ? "Draw the lumen on one frame." : "Your work is as you left it.")}`);
  grey.open(cine);
  follower.now(work);
  showSmall(work);
}

/** The work that was done on a cine, as it was kept, or none. @returns it, and what to say of it. */
async function begin(cine) {
  const begun = new Work(cine);
  begun.slice = new Counting(cine).order[Math.floor((cine.slices - 1) / 2)];
  const { session, same, version, trouble } = await server.readSession(cine.id);
  if (trouble) say(trouble, "wrong");
  const left = keeper.left(cine);
  let found = session;
  if (session && !same) {
    const text = `The files of this cine have changed since the work of ${when(session.saved)}. Open it all the same?`;
    if (!(await confirmed(text, "Open it"))) found = null;
  }
  if (left) {
    const after = !session || session.version === left.after || session.window === left.window;
    const times = `This browser has unsaved work of ${when(left.saved)}, the server has work of ${when(session?.saved)}`;
    const text = `${times}. Open the unsaved work?`;
    if (after || (await confirmed(text, "Open the unsaved work"))) found = { ...left, version: session?.version ?? 0 };
    else keeper.forget(cine);
  }
  begun.version = session?.version ?? 0;
  if (!found) return [begun, trouble ?? null];
  const { structure, slice, frame } = found.shown;
  const fits = slice < cine.slices && frame < cine.frames;
  Object.assign(begun, { structure, following: found.following, ...(fits && { slice, frame }) });
  begun.document.content = received(found);
  if (found !== session) keeper.changed(begun);
  return [begun, `Work of ${when(found.saved)} restored.`];
}

/** The row of slices, once the slice itself has come. */
async function showSmall(asked) {
  try {
    await loaded.get(`frames ${asked.slice}`)?.catch(() => null); // which says itself why it failed
    const images = await server.readSmall(asked.cine.id);
    if (work !== asked) return;
    overview.take(images);
    refresh();
    readAhead();
  } catch (error) {
    if (work === asked) say(error.message, "wrong");
  }
}

/** Show all as it is now. */
function refresh() {
  if (!work) return;
  const { cine, slice, frame, result } = work;
  const followed = result?.slices[slice];
  const frames = get("frames", server.readFrames);
  const warped = followed && blinking ? get("warped", server.readWarped) : null;
  const moved = followed && motion !== "off" ? get("field", server.readField) : null;
  const asWarped = Boolean(warped && warpedShown);
  const pixels = asWarped ? warped : frames;
  const count = cine.size[0] * cine.size[1];
  const at = (images, number) => images.subarray(number * count, (number + 1) * count);
  element("stage").ariaBusy = String(!pixels);
  if (pixels) scene.show(at(pixels, frame), grey.table);
  else scene.clear();

  const lines = pixels ? outlines(slice, frame) : [], part = moved?.length / cine.frames;
  const field = moved && {
    mode: motion, step: result.field_step, moved: moved.subarray(frame * part, (frame + 1) * part),
  };
  scene.mark(lines, field);
  if (compare.on && !frames) compare.clear();
  else if (compare.on) {
    compare.show(at(frames, compare.frame), grey.table, outlines(slice, compare.frame), counting, cine.times);
  }
  const still = !player.playing && !blinking, { open } = pen;
  editor.show({
    lines: still ? lines : [], open: still && open ? open.points : null,
    structure: work.structure, colour: COLOURS[work.structure],
  });
  describeShown(asWarped);
  const drawn = work.document.slices, suggested = work.suggestedSlices, { leftOutEd, leftOutEs } = work.content;
  overview.show({
    frame, slice, table: grey.table, outlines: (number) => outlines(number, frame),
    drawn: (number) => drawn.has(number),
    suggested: (number) => suggested.has(number),
    doubtful: (number) => Boolean(result?.slices[number]?.doubtful),
    leftOut: (number) => [leftOutEd.includes(number) && "ED", leftOutEs.includes(number) && "ES"].filter(Boolean),
  });
  panel.at(slice, frame, work.structure);
  ticks.show(work);
  enable();
}

/** What lies on a frame of a slice, of each structure: as drawn, else as followed, else as suggested. */
function outlines(number, at) {
  const out = work.result?.slices[number]?.left_out.includes(at);
  return STRUCTURES.flatMap((structure) => {
    const drawing = work.document.contour(structure, number, at);
    const followed = drawing ? null : work.rings(structure, number)?.[at];
    const rings = drawing ? ringsOf(drawing, work.cine.size) : followed ?? work.suggestion(structure, number, at);
    if (!rings?.length) return [];
    const how = drawing ? LINES.drawn : followed ? LINES.followed : LINES.suggested;
    const points = drawing?.points ?? null, opacity = out ? FAINT : 1;
    return [{ structure, rings, points, colour: COLOURS[structure], ...how, opacity }];
  });
}

function describeShown(asWarped) {
  const { cine, slice, frame, result, document: drawing } = work;
  const time = cine.times ? `, ${Math.round(cine.times[frame])} ms` : "";
  const number = counting.frame(frame), end = overview.endOf(slice);
  element("where").textContent = `${cine.name} · slice ${counting.slice(slice)} of ${cine.slices}${end && `, ${end}`}`;
  element("stored").textContent = `in files: slice ${slice}, frame ${frame}`;
  element("shown").textContent = asWarped ? `drawn frame warped onto ${number}` : `frame ${number}`;
  element("grey").textContent = String(grey);
  element("time").textContent = `frame ${number} of ${cine.frames}${time}`;
  element("frame").value = number;
  element("frame").setAttribute("aria-valuetext", `frame ${number} of ${cine.frames}${time}`);
  const { suggested } = work.content;
  element("legend").hidden = drawing.empty && !suggested;
  document.querySelector("#legend .moved").hidden = motion === "off";
  element("suggested").hidden = document.querySelector("#legend .suggested").hidden = !suggested;
  element("field-mode").textContent = motion;
  element("play").textContent = player.playing ? "❚❚" : "▶";
  element("play").setAttribute("aria-label", player.playing ? "Stop" : "Play");
  for (const structure of STRUCTURES) toggle(structure, structure === work.structure);
  toggle("draw", pen.open !== null);
  toggle("blink", blinking !== null);
  toggle("ed-here", work.content.ed === frame);
  toggle("es-here", work.content.es === frame);
  toggle("in-ed", !work.content.leftOutEd.includes(slice));
  toggle("in-es", !work.content.leftOutEs.includes(slice));
  element("papillary").value = work.content.papillary ?? "";
  const { ed, es } = work.content;
  element("phases-from").textContent = ed === null && es === null ? "by volume"
    : [ed !== null && "ED", es !== null && "ES"].filter(Boolean).join(" and ") + " by hand";
}

/** Why nothing can be drawn on the slice that is shown, or null: its image is not there. */
function unread() {
  const key = `frames ${work.slice}`;
  if (ready.has(key)) return null;
  return loaded.has(key) ? "The slice is being read." : "The slice could not be read: choose it once more.";
}

/** Why each button cannot do now what it is for; null where it can. */
function reasons() {
  if (!work) return null;
  const { document: drawing, content, result, slice, cine } = work;
  const followed = result?.slices[slice] ? null : result ? "Nothing is followed on this slice." : "Propagate first.";
  const line = pen.open ? "Close the contour first by Enter, or drop it by Esc." : null;
  const first = content.suggested ? "Accept what is suggested first, or draw." : "Draw a contour first, or load a mask.";
  const nothing = drawing.empty ? first : null;
  const waits = work.asked ? "The contours are being followed." : null;
  const stays = waits ?? (saving ? "Being saved." : !result ? nothing ?? "Propagate first." : null);
  const none = work.content.suggested ? null : "Nothing is suggested: A asks for it.";
  const here = none ?? (work.suggestedSlices.has(slice) ? null : "Nothing is suggested on this slice.");
  const unseen = unread();
  return {
    draw: unseen,
    undo: drawing.past.length ? null : "There is nothing to undo.",
    redo: drawing.coming.length ? null : "Nothing was undone.",
    "copy-slice": unseen ?? pen.cannotCopy(1, 0), "copy-slice-back": unseen ?? pen.cannotCopy(-1, 0),
    "copy-frame": unseen ?? pen.cannotCopy(0, 1), "copy-frame-back": unseen ?? pen.cannotCopy(0, -1),
    "clear-contour": unseen ?? pen.cannotClear(),
    clear: unseen ?? (drawing.onSlice(slice).length || pen.open ? null : "Nothing is drawn on this slice."),
    propagate: waits ?? line ?? nothing,
    blink: followed, field: followed,
    save: stays, report: stays, download: stays,
    gallery: cine.slices > 1 ? null : "There is one slice alone.",
    suggest: suggesting ? "The network is at work." : line ?? cannotSuggest(),
    accept: here ?? unseen, "accept-all": none, dismiss: here, "dismiss-all": none,
    "phases-auto": content.ed === null && content.es === null ? "They are found by the volume." : null,
    "in-ed": nothing, "in-es": nothing,
  };
}

function cannotSuggest() {
  if (work.cine.view === "long axis") return "The network draws on short-axis slices alone.";
  if (work.document.slices.size === work.cine.slices) return "Every slice is drawn on already.";
  return null;
}

const { enable, act } = buttons(reasons);

/** The drawing has changed. */
function changed() {
  if (work.document.empty) {
    work.result = work.followed = null;
    showResult();
  }
  showKept("unsaved");
  keeper.changed(work);
  follower.changed(work);
  element("numbers").classList.toggle("outdated", work.outdated);
  refresh();
}

/** The result, or that there is none. */
function showResult() {
  forget("warped", "field");
  if (!work.result) {
    motion = "off";
    stopBlinking();
  } else {
    overview.ends(work.cine.base ?? baseBySize(work.result));
  }
  panel.show(work.cine, work.result, counting, work.structure);
  element("numbers").classList.toggle("outdated", work.outdated);
}

function notKept(failed, error) {
  if (failed !== work) return;
  showKept("unsaved");
  const again = error.status ? "" : " It is kept in this browser, and sent when the server answers.";
  say(`Your work is not saved: ${error.message}${again}`, "wrong");
}

/** Another window has changed the same work. @returns whether this window's is to replace it. */
async function taken(other) {
  const changed = `${other.cine.name}: the work on this cine was changed in another window.`;
  const text = `${changed} Keep what is drawn in this one? The other is put aside in a file.`;
  if (await confirmed(text, "Keep this one")) return true;
  works.delete(other.cine.id);
  if (other === work) open(other.cine.id, other.cine.name);
  return false;
}

function goTo(next, asPlayed = false) {
  if (!work || next === null) return;
  if (!asPlayed) player.stop();
  else compare.step();
  work.frame = (next + work.cine.frames) % work.cine.frames;
  refresh();
}

function goToSlice(next) {
  if (!work || next === null) return;
  work.slice = next;
  refresh();
  overview.reveal(next);
  readAhead();
}

const step = (frames) => work && goTo(work.frame + frames);
const stepSlice = (slices) => work && goToSlice(counting.onwards(work.slice, slices));

/** The next frame, in a direction, on which something is drawn on this slice. */
function goToDrawn(direction) {
  if (!work) return;
  const { frames } = work.cine, drawn = new Set(work.document.onSlice(work.slice).map(({ frame }) => frame));
  for (let k = 1; k <= frames; k++) {
    const frame = (work.frame + direction * k + frames * k) % frames;
    if (drawn.has(frame)) return goTo(frame);
  }
  say("Nothing is drawn on this slice.", "wrong");
}

/** End-diastole here and end-systole beside it, or one image alone. */
function comparePhases() {
  player.stop();
  if (compare.on) compare.close();
  else {
    const { end_diastolic_frame: ed = null, end_systolic_frame: es = null } = work.result?.numbers ?? {};
    if (ed !== null) work.frame = ed;
    compare.begin(es ?? overview.mostUnlike(work.frame));
  }
  toggle("compare", compare.on);
  refresh();
}

/** The other of two images was clicked: it is the one to draw on now. */
function swapPanes() {
  if (!work) return;
  player.stop();
  [work.frame, compare.frame] = [compare.frame, work.frame];
  refresh();
}

function changeMode(name) {
  toggle(name, element("stage").closest("main").classList.toggle(name));
}

function resetImage() {
  if (!work) return;
  grey.reset();
  scene.fit(work.cine.region);
}

function play() {
  const { frames, times } = work.cine;
  player.playing ? player.stop() : player.start(frames, times);
  refresh();
}

function draw() {
  player.stop();
  stopBlinking();
  if (pen.open) pen.drop();
  else pen.begin();
}

/** The contours of a file; those of one without time are taken for the frame that is shown as it is chosen. With it may
    come the JSON file that was saved beside it, which says what in it was drawn, and by whom. */
async function loadMask(files) {
  if (!files.length || !work) return;
  const beside = files.length > 1 ? files.find(({ name }) => name.toLowerCase().endsWith(".json")) ?? null : null;
  const [file, ...others] = files.filter((one) => one !== beside);
  if (others.length) return say("Choose one mask, alone or with the JSON file that was saved beside it.", "wrong");
  player.stop();
  const asked = work, { frame } = work, { content } = work;
  loading = files;
  say(`Reading ${file.name} …`, "busy");
  refresh();
  try {
    const { contours } = await server.readMask(asked.cine.id, frame, file, beside, element("labels").value.trim());
    if (work !== asked || loading !== files) return;
    if (asked.content !== content) throw new Error(`${file.name} was not taken: the drawing has changed since.`);
    player.stop();
    const { drawn, offered } = sorted(contours);
    if (!drawn.length) return offer(offered, true, `${file.name}: all that a network has drawn there is drawn already.`);
    const structures = pen.load(file.name, drawn, offered);
    const frames = [...new Set(drawn.map((contour) => contour.frame))].sort((a, b) => a - b);
    const slices = new Set(drawn.map((contour) => contour.slice));
    if (!frames.includes(work.frame)) [work.frame] = frames;
    if (!slices.has(work.slice)) work.slice = [...slices][Math.floor(slices.size / 2)];
    if (!structures.includes(work.structure)) [work.structure] = structures;
    refresh();
    const names = structures.map((structure) => NAMES[structure]).join(", ");
    const numbers = frames.length > 6 ? `${frames.length} frames`
      : `frame${frames.length > 1 ? "s" : ""} ${frames.map((one) => counting.frame(one)).join(", ")}`;
    const extent = `${names} drawn on ${slices.size} of ${many(work.cine.slices, "slice")}, ${numbers}`;
    const all = frames.length === work.cine.frames && frames.length > 1
      ? " Where it was followed, choose the JSON file that was saved beside it too: then what was drawn alone is taken." : "";
    const suggested = offered && work.content.suggested
      ? ` ${suggestedOn()} Nobody has looked at that: Y accepts the slice, Shift+Y all.` : "";
    say(`${file.name}: ${extent}. Click on a contour to correct it.${suggested}${all}`);
  } catch (error) {
    if (work === asked && loading === files) say(counting.said(error.message), "wrong");
  } finally {
    refresh();
  }
}

/** Contours of a file, those that are taken as drawn and those that are offered, {frame, contours} or null: of a network,
    and nobody has looked at them. What is suggested is of one frame, so of several they are taken. */
function sorted(contours) {
  const unseen = contours.filter(({ by }) => by === "network, not looked at");
  const [first] = unseen;
  if (!first || unseen.some(({ frame }) => frame !== first.frame)) return { drawn: contours, offered: null };
  const drawn = contours.filter((contour) => !unseen.includes(contour));
  return { drawn, offered: { frame: first.frame, contours: unseen } };
}

/** Have a network draw, for the reader to accept. */
async function suggest() {
  const asked = work, { cine } = work, { ed } = work.content, { slice, frame } = work;
  player.stop();
  suggesting = true;
  enable();
  const told = ({ what, done, all }) => work === asked && say(`The network is ${what}: ${done} of ${all} images …`, "busy");
  say("The network is looking at the cine …", "busy");
  try {
    const found = await server.watched(cine.id, "suggest", server.suggest(cine.id, ed), told);
    if (work !== asked) return;
    const drawn = work.document.slices, contours = found.contours.filter((contour) => !drawn.has(contour.slice));
    const none = "The slices on which the network finds a ventricle are drawn on already.";
    offer({ ...found, contours }, work.slice === slice && work.frame === frame, none);
  } catch (error) {
    if (work === asked) say(counting.said(error.message), "wrong");
  } finally {
    suggesting = false;
    refresh();
  }
}

/** Show what a network has drawn, as a suggestion; there, where the reader is still looking at the same image. Where all
    of it is drawn already, `none` is said. */
function offer(found, there, none) {
  const at = pen.suggest(found);
  if (!at) return say(none);
  if (there) Object.assign(work, at);
  say(`${suggestedOn()} Look at each: Y accepts the slice, Shift+Y all, Q dismisses; drag a line to mend it.`);
}

function suggestedOn() {
  return `Suggested on ${many(work.suggestedSlices.size, "slice")}, frame ${counting.frame(work.content.suggested.frame)}.`;
}

function propagate() {
  work.following = true;
  work.failed = null;
  keeper.changed(work);
  if (!work.outdated) return say("All contours are followed as they are drawn.");
  follower.now(work);
}

function began(followed) {
  if (followed !== work) return;
  if (!editor.dragging) say(`Following the contours on ${many(work.document.slices.size, "slice")} …`, "busy");
  enable();
}

function advanced(followed, { done, all }) {
  if (followed === work) say(`Following the contours: ${done} of ${many(all, "slice")} …`, "busy");
}

function ended(followed, error) {
  if (followed !== work) return;
  if (error) say(counting.said(error.message), "wrong");
  else {
    say(`Followed through ${work.cine.frames} frames. Where a contour is wrong, drag it there: the others follow.`);
    showResult();
  }
  refresh();
}

/** Which end is the base where the slices' places do not tell: that of the larger contours, if it is clear. */
function baseBySize({ slices, numbers }) {
  const drawn = Object.keys(slices).map(Number).sort((a, b) => a - b);
  const found = drawn.map((number) => slices[number].areas.lumen?.[numbers.end_diastolic_frame ?? 0]).filter(Boolean);
  if (found.length < 3) return null;
  const third = Math.ceil(found.length / 3), sum = (part) => part.reduce((total, area) => total + area, 0);
  const first = sum(found.slice(0, third)), last = sum(found.slice(-third));
  if (Math.max(first, last) < 1.15 * Math.min(first, last)) return null;
  return first > last ? "first" : "last";
}

function blink() {
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
  motion = MOTIONS[(MOTIONS.indexOf(motion) + 1) % MOTIONS.length];
  refresh();
}

/** Do something with what is on the page, once all of it is followed: `act(cine, number of the result)` says what was
    done. */
async function useResult(doing, act) {
  const asked = work; // another cine may be open when the answer comes
  saving = true;
  enable();
  say(`${doing} …`, "busy");
  try {
    await follower.settled(asked);
    if (asked.outdated) throw new Error("What is drawn could not be followed: mend it, then propagate.");
    say(...[await act(asked.cine, asked.result.result)].flat());
  } catch (error) {
    say(error.message, "wrong");
  } finally {
    saving = false;
    refresh();
  }
}

/** Save by a request; what is there is replaced if the reader says so. */
async function saved(request, { id, name }, result) {
  const what = { result, patient_name: element("named-results").checked };
  return request(id, { ...what, overwrite: false }).catch(async (error) => {
    const there = error.status === 409;
    if (!there || !(await confirmed(`${name}: ${error.message}: replace?`, "Replace"))) throw error;
    return request(id, { ...what, overwrite: true });
  });
}

const save = () => useResult("Saving", async (cine, result) => {
  const { folder, files } = await saved(server.save, cine, result);
  return `Saved in ${folder}: ${files.join(", ")}`;
});

const report = () => useResult("Writing the report", async (cine, result) => {
  const { folder, files } = await saved(server.saveReport, cine, result);
  const to = server.reportAddress(cine.id);
  window.open(to, "_blank"); // where the browser does not let it, there is the link
  const who = element("named-results").checked ? "It names the patient." : "It does not name the patient.";
  return [`Report saved in ${folder}: ${files[0]}. ${who}`, "", { text: "Open it", to }];
});

const download = () => useResult("Packing the results", async (cine, result) => {
  const file = await server.download(cine.id, result, element("named-results").checked);
  keepFile(file);
  return `Given to the browser: ${file.name}, all results and the report.`;
});

function escape() {
  if (pen.open) return pen.drop();
  return editor.release() && undefined;
}

function enter() {
  if (!pen.open) return false;
  pen.close();
}

function removePoint() {
  if (!editor.removeTouched()) say("No point is chosen: click on one, or press J. X clears the contour.", "wrong");
}

function touchPoint(steps) {
  player.stop();
  if (!editor.touch(steps)) say(`There is no contour of the ${NAMES[work.structure]} here.`, "wrong");
  else say("Arrows move the point, Delete removes it, J and K choose another, Esc ends.");
}

/** Arrows move a point, where one is chosen or being set. */
const arrow = (right, down, otherwise) => () => (work && editor.nudge(right, down, false)) || otherwise();
const far = (right, down) => () => (work && editor.nudge(right, down, true)) || scene.shift(right, down);

const actions = {
  ...Object.fromEntries(STRUCTURES.map((structure) => [structure, () => pen.choose(structure)])),
  draw, suggest, propagate, blink, play, field: changeMotion, save, report, download,
  undo: () => pen.undo(), redo: () => pen.redo(),
  "copy-slice": () => pen.copy(1, 0), "copy-slice-back": () => pen.copy(-1, 0),
  "copy-frame": () => pen.copy(0, 1), "copy-frame-back": () => pen.copy(0, -1),
  accept: () => pen.accept([work.slice]), "accept-all": () => pen.accept([...work.suggestedSlices]),
  dismiss: () => pen.dismiss([work.slice]), "dismiss-all": () => pen.dismiss([...work.suggestedSlices]),
  "clear-contour": () => pen.clear(), clear: () => pen.clearSlice(),
  "ed-here": () => pen.setPhase("ed"), "es-here": () => pen.setPhase("es"), "phases-auto": () => pen.findPhases(),
  "in-ed": () => pen.leaveOut("Ed"), "in-es": () => pen.leaveOut("Es"),
  heart: () => scene.fit(work.cine.region), fit: () => scene.fit(), reset: resetImage, compare: comparePhases,
  windowing: () => changeMode("windowing"), gallery: () => changeMode("gallery"),
  load: () => element("mask").click(),
};
const call = (id) => () => act(id, actions[id]);
for (const id of Object.keys(actions)) element(id)?.addEventListener("click", call(id));
element("help-open").addEventListener("click", () => element("help").showModal());
element("frame").addEventListener("input", ({ target }) => goTo(Number(target.value) - 1));
element("papillary").addEventListener("change", ({ target }) => work && pen.setPapillary(target.value || null));
element("named").addEventListener("change", ({ target }) => {
  document.body.classList.toggle("unnamed", !target.checked);
});
element("panes").addEventListener("dblclick", () => work && !pen.open && resetImage());
element("mask").addEventListener("change", ({ target }) => {
  loadMask([...target.files]);
  target.value = ""; // so that the same file can be chosen again
});
onKeys({
  " ": () => (work && pen.open ? editor.set() : call("play")()),
  ArrowLeft: arrow(-1, 0, () => step(-1)), ArrowRight: arrow(1, 0, () => step(1)),
  ArrowUp: arrow(0, -1, () => stepSlice(-1)), ArrowDown: arrow(0, 1, () => stepSlice(1)),
  1: call("lumen"), 2: call("epicardium"), 3: call("rv"),
  d: call("draw"), p: call("propagate"), b: call("blink"), f: call("field"), "?": () => element("help").showModal(),
  j: () => work && touchPoint(1), k: () => work && touchPoint(-1), ",": () => goToDrawn(-1), ".": () => goToDrawn(1),
  a: call("suggest"), y: call("accept"), q: call("dismiss"),
  c: call("copy-slice"), v: call("copy-frame"), x: call("clear-contour"),
  e: call("ed-here"), s: call("es-here"), i: call("in-ed"), o: call("in-es"),
  h: call("heart"), 0: call("fit"), r: call("reset"), w: call("windowing"), t: call("compare"), g: call("gallery"),
  n: () => element("named").click(), "+": () => scene.zoom(1), "=": () => scene.zoom(1), "-": () => scene.zoom(-1),
  Enter: enter, Escape: escape, Delete: () => work && removePoint(), Backspace: () => work && removePoint(),
}, {
  ArrowLeft: far(-1, 0), ArrowRight: far(1, 0), ArrowUp: far(0, -1), ArrowDown: far(0, 1),
  y: call("accept-all"), q: call("dismiss-all"), c: call("copy-slice-back"), v: call("copy-frame-back"), x: call("clear"),
}, { z: call("undo"), "shift+z": call("redo"), y: call("redo"), s: call("save"), "shift+s": call("download") });

enable();
server.listCines().then((cines) => {
  const [first, ...others] = listCines(cines, open);
  if (first && !others.length && !work) first(); // there is nothing to choose
}, (error) => say(error.message, "wrong"));
