/* How the tissue has moved since the drawn frame. moved: rows, then columns, of displacements in pixels of the points
   that lie `step` pixels apart on the drawn frame. */

const SPARSE = 2; // every how many of these points there is an arrow or a line
const STILL = 0.75; // pixels; less is no arrow

function lattice({ moved, step }, [height, width]) {
  const rows = Math.ceil(height / step), columns = Math.ceil(width / step);
  const count = rows * columns;
  const at = (i, j) => {
    const k = i * columns + j;
    return [j * step + moved[count + k], i * step + moved[k]];
  };
  return { rows, columns, at };
}

/** From where the tissue was on the drawn frame to where it is. */
export function drawArrows(context, field, size) {
  const { rows, columns, at } = lattice(field, size);
  context.beginPath();
  for (let i = 0; i < rows; i += SPARSE) {
    for (let j = 0; j < columns; j += SPARSE) {
      const from = [j * field.step, i * field.step], to = at(i, j);
      const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
      const length = Math.hypot(dx, dy);
      if (length < STILL) continue;
      const head = Math.min(0.4 * length, 1.6) / length;
      context.moveTo(...from);
      context.lineTo(...to);
      for (const side of [-0.6, 0.6]) {
        context.moveTo(...to);
        context.lineTo(to[0] - head * (dx + side * dy), to[1] - head * (dy - side * dx));
      }
    }
  }
}

/** A grid that was straight on the drawn frame and has moved with the tissue. */
export function drawGrid(context, field, size) {
  const { rows, columns, at } = lattice(field, size);
  context.beginPath();
  for (let i = 0; i < rows; i += SPARSE) {
    for (let j = 0; j < columns; j++) context[j ? "lineTo" : "moveTo"](...at(i, j));
  }
  for (let j = 0; j < columns; j += SPARSE) {
    for (let i = 0; i < rows; i++) context[i ? "lineTo" : "moveTo"](...at(i, j));
  }
}
