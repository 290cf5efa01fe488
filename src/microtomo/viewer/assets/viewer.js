// The 3D panels of the viewer as a Vue component: linked views of scene.js, filled by the server on demand.
"use strict";
window.microtomoViewer = {
  install(app) {
    app.component("microtomo-panels", {
      props: ["panels", "shown", "titles", "scales", "materials", "visible", "opacity", "zscale", "cut", "mark", "commands"],
      emits: ["pick"],
      inject: ["trame"],
      template: `<div class="mt-panels">
        <figure v-for="name in panels" :key="name" v-show="shown.includes(name)" :data-panel="name">
          <figcaption>{{ titles[name] }}<span v-if="scales[name]" class="mt-scale"><span>{{ scales[name].low }}</span><i
            :style="{ background: scales[name].gradient }"></i><span>{{ scales[name].high }}</span></span></figcaption>
          <div class="mt-view" role="img" :aria-label="titles[name] + ': drag or arrow keys turn, wheel zooms, click reads a pixel'"></div>
          <p class="mt-note">{{ notes[name] }}</p>
        </figure></div>`,
      data() { return { notes: {} }; },
      mounted() {
        this.state = new MicrotomoScene.SceneState();
        this.apply();
        this.fill().catch((error) => {
          for (const name of this.panels) this.notes[name] = `cannot be drawn: ${error.message ?? error}`;
        });
      },
      unmounted() { for (const view of [...this.state.views]) view.close(); },
      watch: {
        visible: "apply", opacity: "apply", zscale: "apply", cut: "apply", mark: "apply",
        shown() { this.$nextTick(() => this.state.redraw()); },
        commands() { this.run(this.commands?.[0]); },
      },
      methods: {
        apply() {
          const hidden = this.materials.filter((name) => !this.visible.includes(name));
          const now = JSON.stringify([hidden, this.opacity, this.zscale, this.cut, this.mark]);
          if (now === this.applied) return;  // other parts of the page changed
          this.applied = now;
          Object.assign(this.state, { hidden: new Set(hidden), opacity: { ...this.opacity }, zScale: this.zscale, cut: [...this.cut], mark: this.mark });
          this.state.move();
        },
        async fill() {
          for (const name of this.panels) {
            const element = this.$el.querySelector(`[data-panel="${name}"] .mt-view`);
            const view = new MicrotomoScene.View(element, this.state, (place) => this.$emit("pick", place));
            const data = await this.trame.trigger("scene", [name]);
            await view.load(data);
            this.notes[name] = data.notes.join("; ");
          }
          this.$el.dataset.ready = "yes";
        },
        async run(command) {
          if (command === "reset") this.state.reset();
          if (command === "top") { Object.assign(this.state.camera, { az: 0, el: 90, panX: 0, panY: 0, zoom: 1 }); this.state.redraw(); }
          if (command === "screenshot") this.screenshot();
          if (command?.startsWith("export:")) {
            const made = await this.trame.trigger("export", [command.slice(7)]);
            if (made) this.save(new Blob([made.data], { type: made.mime }), made.name);
          }
        },
        /** The panels that are shown, side by side with their titles, as one PNG. */
        screenshot() {
          const figures = [...this.$el.querySelectorAll("figure")].filter((f) => f.clientWidth), ratio = window.devicePixelRatio || 1;
          if (!figures.length) return;
          const around = this.$el.getBoundingClientRect(), sheet = document.createElement("canvas");
          sheet.width = around.width * ratio;
          sheet.height = around.height * ratio;
          const pen = sheet.getContext("2d"), style = getComputedStyle(document.body);
          pen.scale(ratio, ratio);
          pen.fillStyle = style.backgroundColor;
          pen.fillRect(0, 0, around.width, around.height);
          pen.fillStyle = style.color;
          pen.font = "bold 15px system-ui, 'DejaVu Sans', sans-serif";
          for (const figure of figures) {
            for (const canvas of figure.querySelectorAll("canvas")) {
              const box = canvas.getBoundingClientRect();
              pen.drawImage(canvas, box.left - around.left, box.top - around.top, box.width, box.height);
            }
            const box = figure.getBoundingClientRect(), scale = this.scales[figure.dataset.panel];
            const title = this.titles[figure.dataset.panel] + (scale ? ` (${scale.low} to ${scale.high})` : "");
            pen.fillText(title, box.left - around.left + 4, box.top - around.top + 16);
          }
          sheet.toBlob((blob) => this.save(blob, "view.png"));
        },
        save(blob, name) {
          const link = document.createElement("a");
          link.href = URL.createObjectURL(blob);
          link.download = name;
          link.click();
          setTimeout(() => URL.revokeObjectURL(link.href), 10000);
        },
      },
    });
  },
};
