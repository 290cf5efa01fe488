// Draws scenes of materials with WebGL 2: linked views, cuts with closed sections, maps on surfaces, picking.
// Served to the viewer and written into self-contained pages.
"use strict";
const MicrotomoScene = (() => {
  const VERTEX = `#version 300 es
in vec3 place; in float light;
uniform vec3 low, span, centre, right, up, towards; uniform vec2 scale, move; uniform float depth, zNow, zSlab;
out float shade; out vec3 at;
void main() {
  at = low + place * span;
  at.z *= at.z < 0.0 ? zSlab : zNow;
  vec3 p = at - centre;
  gl_Position = vec4((dot(p, right) + move.x) * scale.x, (dot(p, up) + move.y) * scale.y, -dot(p, towards) / depth, 1.0);
  shade = light * 255.0 / 200.0;
}`;
  // A closed solid that is cut open shows its far side from within. No other solid lies between that far side and the
  // cut, so painting it flat paints the section; it is drawn a little nearer than the neighbour that it touches.
  const FRAGMENT = `#version 300 es
precision highp float;
in float shade; in vec3 at;
uniform vec3 colour, cut, towards; uniform vec2 size; uniform float opacity, inside; uniform bool mapped, picking;
uniform sampler2D map;
out vec4 pixel;
void main() {
  if (at.x > cut.x || at.y < cut.y || at.z > cut.z) discard;
  gl_FragDepth = gl_FragCoord.z - (gl_FrontFacing ? 0.0 : 2e-4);
  vec3 seen = at;
  float lit = shade;
  if (!gl_FrontFacing) {
    float way = 1e30;
    if (towards.x > 1e-6) { way = (cut.x - at.x) / towards.x; lit = 0.86; }
    if (towards.y < -1e-6 && (cut.y - at.y) / towards.y < way) { way = (cut.y - at.y) / towards.y; lit = 0.8; }
    if (towards.z > 1e-6 && (cut.z - at.z) / towards.z < way) { way = (cut.z - at.z) / towards.z; lit = 1.0; }
    if (way < 1e29) seen = at + way * towards;
  }
  vec2 share = clamp((seen.xy - inside * towards.xy) / size, 0.0, 0.99999);
  if (picking) {
    vec2 n = floor(share * 65000.0) + 1.0;
    pixel = vec4(floor(n.x / 256.0), mod(n.x, 256.0), floor(n.y / 256.0), mod(n.y, 256.0)) / 255.0;
    return;
  }
  vec3 base = colour;
  if (mapped) { vec4 value = texture(map, vec2(share.x, 1.0 - share.y)); base = mix(vec3(0.62), value.rgb, value.a); }
  pixel = vec4(base * min(lit, 1.0) + (1.0 - base) * max(lit - 1.0, 0.0), opacity);
}`;
  const SLOW_MS = 60;
  const START = { az: 28, el: 34, zoom: 1, panX: 0, panY: 0 };

  async function unpack(packed) {
    const bytes = typeof packed === "string" ? Uint8Array.from(atob(packed), (c) => c.charCodeAt(0)) : packed;
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  }

  /** What linked views share: the camera, what is shown, cuts (x and z from above, y from below) [nm], the mark. */
  class SceneState {
    constructor() {
      Object.assign(this, { camera: { ...START }, zScale: 1, hidden: new Set(), opacity: {}, cut: [1, 0, 1], mark: null });
      this.views = [];
    }
    redraw() { for (const view of this.views) view.redraw(); }
    /** Redraw while the user is at it: coarsely where the full scene is slow, fully a moment later. */
    move() {
      this.moving = true;
      clearTimeout(this.rest);
      this.rest = setTimeout(() => { this.moving = false; this.redraw(); }, 350);
      this.redraw();
    }
    reset() { this.camera = { ...START }; this.redraw(); }
  }

  class View {
    constructor(element, state, onpick) {
      Object.assign(this, { element, state, onpick, parts: [], queued: false, data: null, frames: 0 });
      this.solid = document.createElement("canvas");
      this.overlay = document.createElement("canvas");
      element.append(this.solid, this.overlay);
      const gl = (this.gl = this.solid.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true }));
      if (!gl) throw new Error("this browser has no WebGL 2: open the page in another one");
      this.program = this.compile();
      gl.enable(gl.DEPTH_TEST);
      gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      this.controls();
      this.observer = new ResizeObserver(() => this.redraw());
      this.observer.observe(element);
      state.views.push(this);
    }

    compile() {
      const gl = this.gl, made = gl.createProgram();
      for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, source);
        gl.compileShader(shader);
        if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
        gl.attachShader(made, shader);
      }
      gl.linkProgram(made);
      return made;
    }

    /** Take the surfaces of a scene, see `scene_data` in web.py; `data.coarse` is drawn while things move. */
    async load(data) {
      const take = async (surfaces) => {
        const parts = [];
        for (const surface of surfaces) {
          if (surface.faces) parts.push(this.upload(surface, await unpack(surface.packed)));
        }
        return parts;
      };
      const parts = await take(data.surfaces), coarse = data.coarse ? await take(data.coarse) : null;
      Object.assign(this, { data, parts, coarse, cost: 0 });
      this.redraw();
    }

    upload(surface, raw) {
      const gl = this.gl, n = surface.faces;
      const columns = new Uint16Array(raw, 0, 12 * n), shades = new Uint8Array(raw, 24 * n, n);
      const places = new Uint16Array(12 * n), lights = new Uint8Array(4 * n), index = new Uint32Array(6 * n);
      for (let q = 0; q < n; q++) {
        for (let c = 0; c < 12; c++) places[12 * q + c] = columns[c * n + q];
        lights.fill(shades[q], 4 * q, 4 * q + 4);
        index.set([4 * q, 4 * q + 1, 4 * q + 2, 4 * q, 4 * q + 2, 4 * q + 3], 6 * q);
      }
      const array = gl.createVertexArray();
      gl.bindVertexArray(array);
      const attribute = (name, values, count, type) => {
        const at = gl.getAttribLocation(this.program, name);
        gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
        gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
        gl.enableVertexAttribArray(at);
        gl.vertexAttribPointer(at, count, type, true, 0, 0);
      };
      attribute("place", places, 3, gl.UNSIGNED_SHORT);
      attribute("light", lights, 1, gl.UNSIGNED_BYTE);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, index, gl.STATIC_DRAW);
      const colour = [1, 3, 5].map((i) => parseInt(surface.colour.slice(i, i + 2), 16) / 255);
      return { name: surface.name, array, count: 6 * n, colour, texture: this.texture(surface.map) };
    }

    texture(map) {
      if (!map) return null;
      const gl = this.gl, made = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, made);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, map.width, map.height, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(map.rgba));
      for (const name of ["TEXTURE_MIN_FILTER", "TEXTURE_MAG_FILTER"]) gl.texParameteri(gl.TEXTURE_2D, gl[name], gl.NEAREST);
      for (const name of ["TEXTURE_WRAP_S", "TEXTURE_WRAP_T"]) gl.texParameteri(gl.TEXTURE_2D, gl[name], gl.CLAMP_TO_EDGE);
      return made;
    }

    frame() {
      const [X, Y, Z] = this.data.size_nm, view = this.state.camera;
      const a = view.az * Math.PI / 180, e = view.el * Math.PI / 180;
      const towards = [Math.sin(a) * Math.cos(e), -Math.cos(a) * Math.cos(e), Math.sin(e)];
      const right = [Math.cos(a), Math.sin(a), 0];
      const up = [-Math.sin(a) * Math.sin(e), Math.cos(a) * Math.sin(e), Math.cos(e)];
      const slab = this.data.floor_nm * this.data.z_scale, top = Z * this.state.zScale;
      const centre = [X / 2, Y / 2, (slab + top) / 2];
      const w = this.element.clientWidth, h = this.element.clientHeight, small = Math.min(1, Math.max(0.78, w / 480));
      const wide = Math.abs(X * right[0]) + Math.abs(Y * right[1]);
      const high = Math.abs(X * up[0]) + Math.abs(Y * up[1]) + (top - slab) * up[2];
      const perPixel = Math.max(wide / Math.max(Math.min(0.76 * w, w - 140 * small), 0.35 * w), high / Math.max(Math.min(0.72 * h, h - 110), 0.35 * h)) / view.zoom;
      return { towards, right, up, slab, top, centre, w, h, perPixel, small };
    }

    redraw() {
      if (this.queued || !this.data) return;
      this.queued = true;
      requestAnimationFrame(() => { this.queued = false; if (this.element.clientWidth) this.draw(); });
    }

    draw() {
      const gl = this.gl, f = this.frame(), ratio = window.devicePixelRatio || 1;
      for (const canvas of [this.solid, this.overlay]) {
        if (canvas.width !== Math.round(f.w * ratio)) canvas.width = Math.round(f.w * ratio);
        if (canvas.height !== Math.round(f.h * ratio)) canvas.height = Math.round(f.h * ratio);
      }
      const quick = this.coarse && this.state.moving && this.cost > SLOW_MS, begun = performance.now();
      this.paint(f, false, quick ? this.coarse : this.parts);
      if (this.coarse && !quick) {
        gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); // waits until it is drawn
        this.cost = performance.now() - begun;
      }
      MicrotomoAxes.draw(this, f, ratio);
      this.frames += 1;
    }

    paint(f, picking, parts) {
      const gl = this.gl, state = this.state, [X, Y, Z] = this.data.size_nm, floor = this.data.floor_nm;
      gl.viewport(0, 0, this.solid.width, this.solid.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.useProgram(this.program);
      const at = (name) => gl.getUniformLocation(this.program, name);
      gl.uniform3f(at("low"), 0, 0, floor);
      gl.uniform3f(at("span"), X, Y, Z - floor);
      for (const name of ["centre", "right", "up", "towards"]) gl.uniform3fv(at(name), f[name]);
      gl.uniform2f(at("scale"), 2 / (f.w * f.perPixel), 2 / (f.h * f.perPixel));
      gl.uniform2f(at("move"), state.camera.panX * f.perPixel, state.camera.panY * f.perPixel);
      gl.uniform1f(at("depth"), 2 * Math.hypot(X, Y, f.top - f.slab));
      gl.uniform1f(at("zNow"), state.zScale);
      gl.uniform1f(at("zSlab"), this.data.z_scale);
      gl.uniform2f(at("size"), X, Y);
      gl.uniform1f(at("inside"), 1e-4 * Math.max(X, Y));
      gl.uniform1i(at("picking"), picking);
      // shares of the box; a cut at its very end cuts nothing
      const [cx, cy, cz] = state.cut, open = cx < 1 || cy > 0 || cz < 1;
      gl.uniform3f(at("cut"), cx < 1 ? cx * X : 2 * X, cy > 0 ? cy * Y : -Y, cz < 1 ? cz * Z * state.zScale : 1e9);
      (open ? gl.disable : gl.enable).call(gl, gl.CULL_FACE);
      const opacity = (part) => state.opacity[part.name] ?? 1;
      const shown = parts.filter((p) => !state.hidden.has(p.name) && opacity(p) > 0);
      const draw = (part) => {
        gl.uniform3fv(at("colour"), part.colour);
        gl.uniform1f(at("opacity"), picking ? 1 : opacity(part));
        gl.uniform1i(at("mapped"), part.texture ? 1 : 0);
        if (part.texture) gl.bindTexture(gl.TEXTURE_2D, part.texture);
        gl.bindVertexArray(part.array);
        gl.drawElements(gl.TRIANGLES, part.count, gl.UNSIGNED_INT, 0);
      };
      for (const part of shown) if (picking || opacity(part) >= 1) draw(part);
      if (picking) return;
      for (const part of shown) {
        if (opacity(part) >= 1) continue;
        // depth alone first: of a translucent solid only the nearest face is seen
        gl.depthFunc(gl.LEQUAL);
        gl.colorMask(false, false, false, false);
        draw(part);
        gl.colorMask(true, true, true, true);
        gl.enable(gl.BLEND);
        draw(part);
        gl.disable(gl.BLEND);
        gl.depthFunc(gl.LESS);
      }
    }

    /** Place [nm] of the surface under a point of the element, y up; null beside the scene. */
    pick(x, y) {
      if (!this.data) return null;
      const gl = this.gl, { width, height } = this.solid, f = this.frame();
      const target = gl.createFramebuffer(), colour = gl.createRenderbuffer(), depth = gl.createRenderbuffer();
      gl.bindFramebuffer(gl.FRAMEBUFFER, target);
      for (const [buffer, format, slot] of [[colour, gl.RGBA8, gl.COLOR_ATTACHMENT0], [depth, gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT]]) {
        gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
        gl.renderbufferStorage(gl.RENDERBUFFER, format, width, height);
        gl.framebufferRenderbuffer(gl.FRAMEBUFFER, slot, gl.RENDERBUFFER, buffer);
      }
      this.paint(f, true, this.parts);
      const found = new Uint8Array(4), ratio = width / f.w;
      gl.readPixels(Math.floor(x * ratio), height - 1 - Math.floor(y * ratio), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, found);
      gl.bindFramebuffer(gl.FRAMEBUFFER, null);
      gl.deleteFramebuffer(target);
      gl.deleteRenderbuffer(colour);
      gl.deleteRenderbuffer(depth);
      const share = [256 * found[0] + found[1], 256 * found[2] + found[3]];
      if (!share[0] || !share[1]) return null;
      return share.map((n, i) => ((n - 0.5) / 65000) * this.data.size_nm[i]);
    }

    controls() {
      const element = this.element, state = this.state, held = new Map();
      let spread = 0, pressed = null;
      const here = (e) => { const box = element.getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; };
      element.addEventListener("pointerdown", (e) => {
        held.set(e.pointerId, e);
        element.setPointerCapture(e.pointerId);
        spread = 0;
        pressed = e.button === 0 && held.size === 1 ? here(e) : null;
      });
      element.addEventListener("pointerup", (e) => {
        const [x, y] = here(e);
        if (this.onpick && pressed && Math.hypot(x - pressed[0], y - pressed[1]) < 4) {
          const place = this.pick(x, y);
          this.redraw();
          if (place) this.onpick(place);
        }
      });
      for (const end of ["pointerup", "pointercancel"]) {
        element.addEventListener(end, (e) => { held.delete(e.pointerId); spread = 0; pressed = null; });
      }
      const zoom = (factor) => { state.camera.zoom = Math.min(40, Math.max(0.2, state.camera.zoom * factor)); };
      const turn = (dx, dy) => {
        state.camera.az -= 0.35 * dx;
        state.camera.el = Math.min(90, Math.max(3, state.camera.el + 0.35 * dy));
      };
      element.addEventListener("pointermove", (e) => {
        const last = held.get(e.pointerId);
        if (!last) return;
        const dx = e.clientX - last.clientX, dy = e.clientY - last.clientY;
        held.set(e.pointerId, e);
        if (held.size === 2) {
          const [a, b] = [...held.values()], now = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
          if (spread) zoom(now / spread);
          spread = now;
        } else if (e.shiftKey || e.buttons & 6) {
          state.camera.panX += dx;
          state.camera.panY -= dy;
        } else turn(dx, dy);
        state.move();
      });
      element.addEventListener("contextmenu", (e) => e.preventDefault());
      element.addEventListener("wheel", (e) => { e.preventDefault(); zoom(Math.exp(-0.0012 * e.deltaY)); state.move(); }, { passive: false });
      element.tabIndex = 0;
      const keys = { ArrowLeft: () => turn(-20, 0), ArrowRight: () => turn(20, 0), ArrowUp: () => turn(0, -15),
        ArrowDown: () => turn(0, 15), "+": () => zoom(1.2), "-": () => zoom(1 / 1.2) };
      element.addEventListener("keydown", (e) => {
        if (!keys[e.key]) return;
        e.preventDefault();
        keys[e.key]();
        state.move();
      });
    }

    close() {
      this.observer.disconnect();
      this.state.views = this.state.views.filter((v) => v !== this);
      this.gl.getExtension("WEBGL_lose_context")?.loseContext();
    }
  }
  return { SceneState, View };
})();
