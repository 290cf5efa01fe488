// Axes with ticks in true nm and the mark of the chosen pixel, drawn over a view of scene.js.
"use strict";
const MicrotomoAxes = (() => {
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

  function draw(view, f, ratio) {
    const px = Math.round(14 * f.small);
    const [X, Y] = view.data.size_nm, zScale = view.state.zScale, { panX, panY, el } = view.state.camera;
    const pen = view.overlay.getContext("2d"), style = getComputedStyle(document.body);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, f.w, f.h);
    pen.strokeStyle = pen.fillStyle = style.color;
    pen.lineWidth = 1.2;
    pen.textBaseline = "middle";
    const screen = (p) => {
      const q = p.map((v, i) => v - f.centre[i]);
      return [f.w / 2 + dot(q, f.right) / f.perPixel + panX, f.h / 2 - dot(q, f.up) / f.perPixel - panY];
    };
    const middle = screen([X / 2, Y / 2, f.slab]);
    const yFront = f.towards[1] < 0 ? 0 : Y, xFront = f.towards[0] > 0 ? X : 0;
    const corners = [[0, 0], [X, 0], [0, Y], [X, Y]].map(([x, y]) => screen([x, y, 0]).concat([x, y]));
    const [, , zx, zy] = corners.reduce((best, c) => (c[0] < best[0] ? c : best));
    const axis = (name, ticks, place, outward, from, to) => {
      const ends = [screen(from), screen(to)];
      pen.beginPath();
      pen.moveTo(...ends[0]);
      pen.lineTo(...ends[1]);
      const length = Math.hypot(ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]);
      const every = Math.max(1, Math.ceil(ticks.length * (name === "z" ? 22 : 46) / Math.max(length, 1)));
      pen.font = `${px}px system-ui, 'DejaVu Sans', sans-serif`;
      pen.textAlign = outward[0] < -0.4 ? "right" : outward[0] > 0.4 ? "left" : "center";
      ticks.forEach((t, i) => {
        const s = screen(place(t));
        pen.moveTo(...s);
        pen.lineTo(s[0] + 6 * outward[0], s[1] + 6 * outward[1]);
        if (i % every === 0) pen.fillText(String(+t.toPrecision(6)), s[0] + 14 * outward[0], s[1] + 16 * outward[1]);
      });
      pen.stroke();
      pen.font = `bold ${px}px system-ui, 'DejaVu Sans', sans-serif`;
      const way = name === "z" ? [0, 0] : [48 * f.small * outward[0], 42 * f.small * outward[1]];
      const mid = name === "z" ? [ends[1][0], ends[1][1] - 20] : ends[0].map((v, i) => (v + ends[1][i]) / 2 + way[i]);
      pen.fillText(`${name} [nm]`, ...mid);
    };
    const away = (p) => {
      const s = screen(p), d = [s[0] - middle[0], s[1] - middle[1]], n = Math.hypot(...d) || 1;
      return [d[0] / n, d[1] / n];
    };
    const [xTicks, yTicks, zTicks] = view.data.ticks;
    axis("x", xTicks, (t) => [t, yFront, f.slab], away([X / 2, yFront, f.slab]), [0, yFront, f.slab], [X, yFront, f.slab]);
    axis("y", yTicks, (t) => [xFront, Y - t, f.slab], away([xFront, Y / 2, f.slab]), [xFront, 0, f.slab], [xFront, Y, f.slab]);
    if (el < 85) axis("z", zTicks, (t) => [zx, zy, t * zScale], [-1, 0], [zx, zy, 0], [zx, zy, f.top]);
    if (view.state.mark) drawMark(view.state.mark, pen, screen, f);
  }

  function drawMark(mark, pen, screen, f) {
    const foot = screen([...mark, 0]), head = screen([...mark, f.top]);
    const line = (colour, width) => {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      pen.moveTo(...foot);
      pen.lineTo(head[0], head[1] - 14);
      pen.stroke();
    };
    line("#fff", 4);
    line("#c0007a", 2);
    pen.fillStyle = "#c0007a";
    pen.beginPath();
    pen.arc(head[0], head[1] - 16, 5, 0, 7);
    pen.fill();
  }
  return { draw };
})();
