/* Closed contours of a few points. Coordinates [x, y] are pixels of the image, whole numbers their centres. */

const PIECES = 10; // straight ones from one point to the next

const rings = new WeakMap(); // of drawings by points, which are never changed

/** The rings of a drawing on an image of a size [height, width]: {points}, drawn here, or {rings}, of a mask. */
export function ringsOf(drawing, size) {
  if (drawing.rings) return drawing.rings;
  if (!rings.has(drawing)) {
    rings.set(drawing, [smoothRing(drawing.points).map((point) => rounded(inside(point, size)))]);
  }
  return rings.get(drawing);
}

/** The nearest place in an image. */
export function inside([x, y], [height, width]) {
  return [Math.min(Math.max(x, -0.5), width - 0.5), Math.min(Math.max(y, -0.5), height - 0.5)];
}

/** To a thousandth of a pixel, so that what is stored is what was drawn. */
export const rounded = (point) => point.map((value) => Math.round(value * 1000) / 1000);

/** The closed curve through the points, as a polygon: a centripetal Catmull-Rom spline, which has no loops. */
export function smoothRing(points) {
  const count = points.length;
  const ring = [];
  for (let k = 0; k < count; k++) {
    const four = [-1, 0, 1, 2].map((step) => points[(k + step + count) % count]);
    for (let piece = 0; piece < PIECES; piece++) ring.push(between(four, piece / PIECES));
  }
  return ring;
}

/** A point between the two in the middle of four, by Barry and Goldman's pyramid. */
function between([a, b, c, d], share) {
  const gap = (p, q) => Math.max(Math.sqrt(Math.hypot(q[0] - p[0], q[1] - p[1])), 1e-6);
  const t1 = gap(a, b), t2 = t1 + gap(b, c), t3 = t2 + gap(c, d);
  const t = t1 + share * (t2 - t1);
  const mix = (p, q, from, to) => p.map((value, axis) => (value * (to - t) + q[axis] * (t - from)) / (to - from));
  const ab = mix(a, b, 0, t1), bc = mix(b, c, t1, t2), cd = mix(c, d, t2, t3);
  return mix(mix(ab, bc, 0, t2), mix(bc, cd, t1, t3), t1, t2);
}

/** Which piece of a ring passes nearest to a position. */
export function nearestPiece(ring, [x, y]) {
  let best = 0, least = Infinity;
  ring.forEach(([x0, y0], k) => {
    const [x1, y1] = ring[(k + 1) % ring.length];
    const distance = Math.hypot((x0 + x1) / 2 - x, (y0 + y1) / 2 - y);
    if (distance < least) [best, least] = [k, distance];
  });
  return best;
}

/** After which of its points a smooth ring passes nearest to a position. */
export const nearestPoint = (points, position) => Math.floor(nearestPiece(smoothRing(points), position) / PIECES);

/** The same ring, beginning where it passes nearest to a position. */
export function ringFrom(ring, [x, y]) {
  const distances = ring.map((point) => Math.hypot(point[0] - x, point[1] - y));
  const first = distances.indexOf(Math.min(...distances));
  return [...ring.slice(first), ...ring.slice(0, first)];
}

/** A few points, equally far apart, by which a ring of many can be changed. */
export function fewPoints(ring) {
  const steps = ring.map((point, k) => {
    const next = ring[(k + 1) % ring.length];
    return Math.hypot(next[0] - point[0], next[1] - point[1]);
  });
  const length = steps.reduce((sum, step) => sum + step, 0);
  const count = Math.max(6, Math.min(24, Math.round(length / 5)));
  const points = [];
  let along = 0, k = 0;
  for (let number = 0; number < count; number++) {
    while (along + steps[k] < (number * length) / count) along += steps[k++];
    points.push([...ring[k]]);
  }
  return points;
}
