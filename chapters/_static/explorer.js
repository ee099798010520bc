/* The explorer: the arithmetic of qstudy.numerics in plain JavaScript, and its page.
 *
 * The first half holds pure functions that return the very integers of
 * qstudy.numerics.mapping and qstudy.numerics.qparams on float32 tensors: every step is
 * rounded to float32 by Math.fround, as torch rounds it. The tests compare the two in a
 * browser. The second half draws. Nothing is loaded from anywhere.
 */
(function () {
  "use strict";

  // ---- arithmetic ---------------------------------------------------------------

  const f32 = Math.fround;
  const TINY = 2 ** -126; // the smallest normal float32, as in QParams
  const BITS = [2, 16];
  const SCHEMES = ["affine", "scale"];
  const CONVENTIONS = ["max_code", "half_range", "both_ends", "min_code", "unsigned"];
  const GRANULARITIES = ["per_tensor", "per_channel"];

  const halfUp = (x) => {
    const floor = Math.floor(x);
    return f32(floor + (f32(x - floor) >= 0.5 ? 1 : 0));
  };
  const signed = (size, x) => (x < 0 ? -size : size);
  const ROUNDINGS = {
    half_even: (x) => {
      const floor = Math.floor(x);
      const part = x - floor;
      return part > 0.5 || (part === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
    },
    half_away: (x) => signed(halfUp(Math.abs(x)), x),
    half_toward_zero: (x) => signed(-halfUp(-Math.abs(x)), x),
    half_up: halfUp,
    half_down: (x) => -halfUp(-x),
  };

  function oneOf(name, value, allowed) {
    if (!allowed.includes(value)) {
      throw new RangeError(`${name} "${value}" is not one of ${allowed.join(", ")}`);
    }
    return value;
  }

  /* The codes of `bits` bits, {low, high}; numerics.mapping.code_range. */
  function codeRange(bits, isSigned) {
    if (!Number.isInteger(bits) || bits < BITS[0] || bits > BITS[1]) {
      throw new RangeError(
        `bits ${bits} is not a whole number from ${BITS[0]} to ${BITS[1]}`);
    }
    const low = isSigned ? -(2 ** (bits - 1)) : 0;
    return { low, high: low + 2 ** bits - 1 };
  }

  function symmetric(low, high, codes, convention) {
    oneOf("convention", convention, CONVENTIONS);
    if ((convention === "unsigned") !== (codes.low >= 0)) {
      const sort = codes.low >= 0 ? "unsigned" : "signed";
      throw new RangeError(`convention "${convention}" does not fit ${sort} codes`);
    }
    const largest = Math.max(-low, high);
    if (convention === "max_code") return f32(largest / codes.high);
    if (convention === "both_ends") {
      return Math.max(f32(low / codes.low), f32(high / codes.high));
    }
    if (convention === "min_code") return f32(largest / -codes.low);
    return f32(largest / ((codes.high - codes.low) / 2));
  }

  /* Scale and zero point of a range of float32; numerics.qparams.choose_qparams. */
  function chooseQparams(low, high, codes, { scheme, convention, rounding }) {
    [low, high] = [f32(low), f32(high)];
    if (!Number.isFinite(low) || !Number.isFinite(high)) {
      throw new RangeError(`range ${low} to ${high} is not finite`);
    }
    if (low > high) throw new RangeError(`range ${low} to ${high} is reversed`);
    oneOf("scheme", scheme, SCHEMES);
    [low, high] = [Math.min(low, 0), Math.max(high, 0)]; // zero must have a code
    const usable = (scale) => (scale === 0 ? 1 : Math.max(scale, TINY));
    if (scheme === "affine") {
      const scale = usable(f32(f32(high - low) / (codes.high - codes.low)));
      if (!Number.isFinite(scale)) throw new RangeError(`scale ${scale} is not finite`);
      const zero = codes.low - ROUNDINGS[rounding](f32(low / scale));
      return { scale, zero: Math.min(Math.max(zero, codes.low), codes.high) + 0 };
    }
    const scale = usable(symmetric(low, high, codes, convention));
    const middle = codes.low < 0 ? 0 : (codes.low + codes.high + 1) / 2;
    return { scale, zero: middle };
  }

  /* The code of one float32; numerics.mapping.quantize. */
  function quantize(x, { scale, zero }, codes, rounding) {
    const code = f32(ROUNDINGS[rounding](f32(f32(x) / scale)) + zero);
    return Math.min(Math.max(code, codes.low), codes.high) + 0;
  }

  /* Back to float32; numerics.mapping.dequantize. */
  const dequantize = (code, { scale, zero }) => f32((code - zero) * scale);

  /* A whole tensor of `channels` equal rows: codes, values, one qparams a group. */
  function quantizeTensor(values, channels, settings, range) {
    const { bits, isSigned, rounding } = settings;
    oneOf("rounding", rounding, Object.keys(ROUNDINGS));
    const codes = codeRange(bits, isSigned);
    const groups =
      oneOf("granularity", settings.granularity, GRANULARITIES) === "per_channel"
        ? channels : 1;
    const size = values.length / groups;
    const qparams = [];
    const found = new Int32Array(values.length);
    const back = new Float32Array(values.length);
    let [power, noise, clipped] = [0, 0, 0];
    for (let group = 0; group < groups; group++) {
      const row = values.subarray(group * size, (group + 1) * size);
      const ends = range || extremes(row);
      const chosen = chooseQparams(ends[0], ends[1], codes, settings);
      qparams.push(chosen);
      for (let i = 0; i < size; i++) {
        const at = group * size + i;
        const code = quantize(row[i], chosen, codes, rounding);
        found[at] = code;
        back[at] = dequantize(code, chosen);
        power += row[i] * row[i];
        noise += (row[i] - back[at]) ** 2;
        clipped += Math.abs(row[i] - back[at]) > chosen.scale * 0.500001;
      }
    }
    return { codes: found, values: back, qparams, range: codes, clipped,
             sqnr: sqnr(power, noise) };
  }

  function extremes(values) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return [low, high];
  }

  /* Signal to quantization noise in dB; numerics.error.sqnr. */
  function sqnr(power, noise) {
    if (noise === 0) return Infinity;
    return power > 0 ? 10 * Math.log10(power / noise) : -Infinity;
  }

  const arithmetic = { codeRange, chooseQparams, quantize, dequantize, quantizeTensor,
                       ROUNDINGS, BITS };

  // ---- the page -----------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";
  const WIDTHS = [320, 720]; // of the picture, in its own units: those of the page
  const EDGE = 24;
  const WIDEST = 20; // the name of a code, in units of the picture
  const DENSEST = 80; // more codes than this are drawn as a band, not as ticks

  function decode(base64) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    return new Float32Array(bytes.buffer); // little-endian, as it was written
  }

  function number(field, what) {
    const text = field.value.trim();
    if (text === "") throw new RangeError(`${what} is empty: a number is needed`);
    const value = Number(text.replace("−", "-"));
    if (!Number.isFinite(value)) {
      throw new RangeError(`${what} "${text}" is not a number`);
    }
    return value;
  }

  const shown = (value, digits = 5) => {
    if (value === Infinity) return "∞";
    return String(Number(value.toPrecision(digits))).replace("-", "−");
  };

  function draw(tag, attributes, parent, text) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) {
      node.setAttribute(name, value);
    }
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  }

  function start(root) {
    const field = (name) => root.querySelector(`[name="${name}"]`);
    const out = (name) => root.querySelector(`[data-out="${name}"]`);
    const message = root.querySelector("[role=alert]");
    const picture = root.querySelector("svg");
    const given = window.QSTUDY_WEIGHTS || { layers: [] };
    const layers = new Map(
      given.layers.map((l) => [l.name, { ...l, values: decode(l.data) }]));
    for (const layer of layers.values()) {
      const option = document.createElement("option");
      option.value = layer.name;
      option.textContent = `${layer.name}, ${layer.shape.join(" × ")}`;
      field("source").append(option);
    }
    let last = null; // what is drawn now: invalid input leaves it
    let view = null; // the part of the line that the picture shows

    function read() {
      const layer = layers.get(field("source").value);
      const settings = {
        bits: number(field("bits"), "bits"),
        isSigned: field("codes").value === "signed",
        scheme: field("scheme").value,
        convention: field("codes").value === "signed"
          ? field("convention").value : "unsigned",
        rounding: field("rounding").value,
        granularity: layer ? field("granularity").value : "per_tensor",
      };
      const codes = codeRange(settings.bits, settings.isSigned);
      const low = number(field("low"), "range from");
      const high = number(field("high"), "range to");
      const channel = layer && settings.granularity === "per_channel"
        ? number(field("channel"), "channel") : 0;
      if (layer && (!Number.isInteger(channel) || channel < 0
                    || channel >= layer.shape[0])) {
        throw new RangeError(
          `channel ${channel} is not a whole number from 0 to ${layer.shape[0] - 1}`);
      }
      const x = number(field("x"), "x");
      const own = [low, high];
      const values = layer ? layer.values : Float32Array.of(x);
      const channels = layer ? layer.shape[0] : 1;
      const range = settings.granularity === "per_channel" ? null : own;
      const tensor = quantizeTensor(values, channels, settings, range);
      const size = values.length / channels;
      const row = settings.granularity === "per_channel"
        ? values.subarray(channel * size, (channel + 1) * size) : values;
      const chosen = tensor.qparams[range ? 0 : channel];
      // The other granularity, for comparison.
      const other = layer && quantizeTensor(
        values, channels,
        { ...settings, granularity: range ? "per_channel" : "per_tensor" }, null);
      return { layer, settings, codes, range: range || extremes(row), x, tensor,
               chosen, row, other, channel };
    }

    function update() {
      let state;
      try {
        state = read();
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        message.textContent = `${error.message}. What is drawn is unchanged.`;
        root.classList.add("refused");
        return;
      }
      message.textContent = "";
      root.classList.remove("refused");
      last = state;
      tell(state);
      render(state);
    }

    function tell(state) {
      const { settings, codes, chosen, x, tensor, other, layer } = state;
      const code = quantize(x, chosen, codes, settings.rounding);
      const back = dequantize(code, chosen);
      out("scale").textContent = shown(chosen.scale, 8);
      out("zero").textContent = shown(chosen.zero, 8);
      out("codes").textContent = `${shown(codes.low, 8)} to ${shown(codes.high, 8)}`;
      out("ends").textContent = [codes.low, codes.high]
        .map((end) => shown(dequantize(end, chosen))).join(" to ");
      out("code").textContent = shown(code, 8);
      out("back").textContent = shown(back, 8);
      out("error").textContent = shown(f32(back - f32(x)), 4);
      const steps = Math.abs(back - f32(x)) / chosen.scale;
      out("steps").textContent = `${shown(steps, 3)} of a step`;
      out("sqnr").textContent = `${shown(tensor.sqnr, 4)} dB`;
      const perTensor = settings.granularity === "per_tensor";
      out("what").textContent = layer
        ? `${layer.values.length.toLocaleString("en")} weights, one scale `
          + (perTensor ? "for all" : "a channel")
        : "x alone";
      out("clipped").textContent = layer ? String(tensor.clipped) : "";
      out("used").textContent = layer ? String(new Set(tensor.codes).size) : "";
      out("other").textContent = layer
        ? `${shown(other.sqnr, 4)} dB with one scale `
          + (perTensor ? "a channel" : "for all") : "";
      for (const node of root.querySelectorAll("[data-for=weights]")) {
        node.hidden = !layer;
      }
      root.querySelector("[data-for=channel]").hidden = perTensor;
      for (const name of ["low", "high"]) field(name).disabled = !perTensor;
      field("convention").disabled = settings.scheme !== "scale" || !settings.isSigned;
    }

    function render(state) {
      const { codes, chosen, range, x, row, layer, settings } = state;
      picture.replaceChildren();
      const ends = [codes.low, codes.high].map((end) => dequantize(end, chosen));
      const seen = layer ? extremes(row) : [x, x];
      let from = Math.min(ends[0], range[0], seen[0], x);
      let to = Math.max(ends[1], range[1], seen[1], x);
      const margin = (to - from) * 0.04;
      const inner = [from, to];
      [from, to] = [from - margin, to + margin];
      const width = Math.min(Math.max(picture.clientWidth, WIDTHS[0]), WIDTHS[1]);
      view = { from, to, inner, width };
      const at = (value) => EDGE + ((value - from) / (to - from)) * (width - 2 * EDGE);
      const line = layer ? 150 : 50;
      picture.setAttribute("viewBox", `0 0 ${width} ${line + 60}`);
      const code = quantize(x, chosen, codes, settings.rounding);
      const back = dequantize(code, chosen);
      const title = `A number line from ${shown(from, 3)} to ${shown(to, 3)}. The codes `
        + `${codes.low} to ${codes.high} stand for ${shown(ends[0], 4)} to `
        + `${shown(ends[1], 4)}. x = ${shown(x)} has the code ${code}, which stands `
        + `for ${shown(back)}.`;
      picture.setAttribute("aria-label", title);
      if (layer) bars(row, from, to, at, line - 12);
      draw("rect", { class: "x-range", x: at(ends[0]), y: line - 6,
                     width: Math.max(at(ends[1]) - at(ends[0]), 1), height: 12 }, picture);
      draw("line", { class: "x-axis", x1: EDGE, x2: width - EDGE, y1: line, y2: line },
           picture);
      const levels = codes.high - codes.low + 1;
      const apart = at(chosen.scale) - at(0); // two codes, and then their names
      const named = Math.ceil(WIDEST / apart);
      if (levels <= DENSEST) {
        for (let c = codes.low; c <= codes.high; c++) {
          const place = at(dequantize(c, chosen));
          const zero = c === chosen.zero;
          draw("line", { class: zero ? "x-zero" : "x-tick", x1: place, x2: place,
                         y1: line - (zero ? 14 : 8), y2: line + (zero ? 14 : 8) },
               picture);
          if (levels <= 16 && (c - codes.low) % named === 0) {
            draw("text", { class: "x-code", x: place, y: line + 26 }, picture, shown(c));
          }
        }
      } else {
        const place = at(0);
        draw("line", { class: "x-zero", x1: place, x2: place, y1: line - 14,
                       y2: line + 14 }, picture);
      }
      for (const end of [0, 1]) {
        draw("text", { class: "x-end", x: at(ends[end]), y: line + 46,
                       "text-anchor": end ? "end" : "start" }, picture,
             `${shown(end ? codes.high : codes.low)} is ${shown(ends[end], 4)}`);
      }
      draw("line", { class: "x-move", x1: at(x), y1: line - 30, x2: at(back),
                     y2: line - 2 }, picture);
      draw("circle", { class: "x-real", cx: at(x), cy: line - 30, r: 5 }, picture);
      draw("circle", { class: "x-back", cx: at(back), cy: line, r: 5 }, picture);
      const side = at(x) > width / 2 ? "end" : "start";
      draw("text", { class: "x-label", x: at(x) + (side === "end" ? -9 : 9),
                     y: line - 26, "text-anchor": side }, picture,
           `${shown(x, 4)} → ${shown(code)}`);
    }

    function bars(row, from, to, at, floor) {
      const count = 80;
      const heights = new Array(count).fill(0);
      for (const value of row) {
        const bin = Math.floor(((value - from) / (to - from)) * count);
        heights[Math.min(bin, count - 1)] += 1;
      }
      const most = Math.max(...heights);
      const width = (at(to) - at(from)) / count;
      heights.forEach((height, bin) => {
        const tall = (height / most) * (floor - 10);
        if (height) {
          draw("rect", { class: "x-bar", x: at(from) + bin * width, y: floor - tall,
                         width: width * 0.9, height: tall }, picture);
        }
      });
    }

    function chooseSource() {
      const layer = layers.get(field("source").value);
      const [low, high] = layer ? extremes(layer.values) : [-1, 1];
      const short = (value) => String(Number(value.toPrecision(9))); // the same float32
      field("low").value = short(low);
      field("high").value = short(high);
      field("x").value = layer ? short(layer.values[0]) : "0.1";
      field("channel").value = "0";
      if (layer) field("channel").max = String(layer.shape[0] - 1);
    }

    root.addEventListener("input", (event) => {
      if (event.target.name === "source") chooseSource();
      update();
    });
    root.querySelector("form").addEventListener("submit", (e) => e.preventDefault());
    // Arrow keys on the picture move x by one step, with Shift by ten.
    picture.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way || !last) return;
      event.preventDefault();
      const step = last.chosen.scale * (event.shiftKey ? 10 : 1);
      field("x").value = String(f32(last.x + way * step));
      update();
    });
    // A finger or the mouse on the picture puts x where it is.
    function point(event) {
      if (!last || !event.buttons) return;
      const box = picture.getBoundingClientRect();
      const place = ((event.clientX - box.left) / box.width) * view.width;
      const share = (place - EDGE) / (view.width - 2 * EDGE);
      const value = view.from + share * (view.to - view.from);
      const inside = Math.min(Math.max(value, view.inner[0]), view.inner[1]);
      field("x").value = String(Number(inside.toPrecision(4)));
      update();
    }
    picture.addEventListener("pointerdown", (event) => {
      picture.setPointerCapture(event.pointerId);
      point(event);
    });
    picture.addEventListener("pointermove", point);
    window.addEventListener("resize", () => last && render(last));
    update();
    return { state: () => last, update };
  }

  window.qstudyExplorer = { ...arithmetic, start };
  document.addEventListener("DOMContentLoaded", () => {
    const root = document.getElementById("explorer");
    if (root) window.qstudyExplorer.page = start(root);
  });
})();
