/* What the page asks the server; a refusal is an Error with the server's own words. */

const ASK = 250; // ms from one question about the progress to the next

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const error = new Error(body.detail ?? `The server failed (${response.status}).`);
  error.status = response.status;
  throw error;
}

const json = async (path, options) => (await ask(path, options)).json();
const buffer = async (path) => (await ask(path)).arrayBuffer();

function send(method, path, content) {
  const headers = { "Content-Type": "application/json" };
  return json(path, { method, headers, body: JSON.stringify(content) });
}

export const listCines = () => json("api/cines");
export const describe = (cine) => json(`api/cines/${cine}`);
export const follow = (cine, drawing, earlier) => send("POST", `api/cines/${cine}/follow`, { ...drawing, earlier });
export const suggest = (cine, frame) => send("POST", `api/cines/${cine}/suggest`, { frame });
/** what: { result, overwrite, patient_name }. */
export const save = (cine, what) => send("POST", `api/cines/${cine}/save`, what);
export const saveReport = (cine, what) => send("POST", `api/cines/${cine}/report`, what);
export const reportAddress = (cine) => `api/cines/${cine}/report`;
export const readSession = (cine) => json(`api/cines/${cine}/session`);
export const keepSession = (cine, session) => send("PUT", `api/cines/${cine}/session`, session);

/** All results in one archive. @returns its name and content. */
export async function download(cine, result, named) {
  const query = new URLSearchParams({ result, patient_name: named });
  const response = await ask(`api/cines/${cine}/download?${query}`);
  const [, name] = response.headers.get("Content-Disposition").match(/filename\*=UTF-8''(.*)$/);
  return { name: decodeURIComponent(name), content: await response.blob() };
}

/** Call `told({what, done, all})` while the server does something that takes long, "follow" or "suggest".
    @returns what it answers. */
export async function watched(cine, act, request, told) {
  let over = false;
  const timer = setInterval(async () => {
    const progress = await json(`api/cines/${cine}/progress/${act}`).catch(() => ({}));
    if (!over && progress.all) told(progress);
  }, ASK);
  try {
    return await request;
  } finally {
    over = true;
    clearInterval(timer);
  }
}

export async function readFrames(cine, slice) {
  return new Uint16Array(await buffer(`api/cines/${cine}/slices/${slice}/frames`));
}

export async function readSmall(cine) {
  return new Uint16Array(await buffer(`api/cines/${cine}/small`));
}

export async function readWarped(cine, slice, result) {
  return new Uint16Array(await buffer(`api/cines/${cine}/slices/${slice}/warped?result=${result}`));
}

export async function readField(cine, slice, result) {
  return new Float32Array(await buffer(`api/cines/${cine}/slices/${slice}/field?result=${result}`));
}

/** beside: the JSON file that was saved beside the masks, or null. */
export function readMask(cine, frame, file, beside, labels) {
  const query = new URLSearchParams({ name: file.name, frame, labels, sidecar_bytes: beside?.size ?? 0 });
  const headers = { "Content-Type": "application/octet-stream" };
  const body = beside ? new Blob([beside, file]) : file;
  return json(`api/cines/${cine}/mask?${query}`, { method: "POST", headers, body });
}
