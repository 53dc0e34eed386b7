// @ts-check
// Choosing effects: a gallery, the chosen chain, and the parameters of its steps.

/**
 * @typedef {{ name: string, type: string, min: number | null, max: number | null, default: unknown, unit: string,
 *   description: string, choices?: string[] }} Parameter
 * @typedef {{ name: string, aliases: string[], description: string, parameters: Parameter[],
 *   needs_model: boolean, model: string | null, figure: import("./sketch.js").Figure | null }} EffectKind
 * @typedef {Record<string, Record<string, unknown>>} Params
 */

/** Changes of a slider are sent after this pause, in milliseconds. */
const SETTLE = 120;
const NONE = "none";
/** Text that is a colour is chosen, not typed. */
const COLOR = /^#[0-9a-f]{6}$/i;

/** @param {string} name */
export const readable = (name) => {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
};

/**
 * For comparing: the order of keys does not matter.
 * @param {Params} params
 */
const canonical = (params) =>
  JSON.stringify(Object.entries(params).sort().map(([effect, values]) => [effect, Object.entries(values).sort()]));

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Partial<HTMLElementTagNameMap[K]>} properties
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** The panel of effects. */
export class EffectPanel {
  /**
   * @param {{ gallery: HTMLElement, panel: HTMLElement, chain: HTMLElement, combine: HTMLInputElement }} places
   * @param {(chain: string, params: Params) => void} apply
   */
  constructor(places, apply) {
    this.places = places;
    this.apply = apply;
    /** @type {EffectKind[]} */
    this.kinds = [];
    /** @type {string[]} */
    this.chain = [NONE];
    /** @type {Params} */
    this.params = {};
    this.timer = 0;
    places.combine.addEventListener("change", () => {
      if (!places.combine.checked && this.chain.length > 1) this.choose([this.chain[0]]);
    });
  }

  /** @param {EffectKind[]} kinds */
  setKinds(kinds) {
    this.kinds = kinds;
    const groups = [
      { title: "Sees people and things", kinds: kinds.filter((kind) => kind.needs_model) },
      { title: "Changes the picture", kinds: kinds.filter((kind) => !kind.needs_model) },
    ].filter((group) => group.kinds.length > 0);
    const heads = groups.length > 1;
    this.places.gallery.replaceChildren(...groups.flatMap(({ title, kinds }) => [
      ...(heads ? [element("h3", {}, title)] : []),
      ...kinds.map((kind) => this.tile(kind)),
    ]));
    this.render();
  }

  /**
   * Follows what the server has, unless a slider is being moved.
   * @param {string} chain
   * @param {Params} params
   */
  follow(chain, params) {
    if (this.timer !== 0) return;
    const steps = chain.split("|");
    if (steps.join() === this.chain.join() && canonical(params) === canonical(this.given())) return;
    this.chain = steps;
    this.params = structuredClone(params);
    if (steps.length > 1) this.places.combine.checked = true;
    this.render();
  }

  /** Whether a chain does nothing but find things and draw them. @param {string} chain */
  onlyFinds(chain) {
    const draws = (/** @type {string} */ name) => this.kinds.find((kind) => kind.name === name)?.parameters.some((parameter) => parameter.name === "draw");
    return chain.split("|").every(draws);
  }

  /** Parameters of the steps that are chosen. */
  given() {
    const entries = Object.entries(this.params);
    const used = entries.filter(([name, values]) => this.chain.includes(name) && Object.keys(values).length > 0);
    return Object.fromEntries(used);
  }

  /** @param {EffectKind} kind */
  tile(kind) {
    const name = element("strong", {}, readable(kind.name));
    const button = element("button", { type: "button" }, name, element("span", {}, kind.description));
    button.dataset.effect = kind.name;
    button.addEventListener("click", () => this.toggle(kind.name));
    return button;
  }

  /** @param {string} name */
  toggle(name) {
    if (!this.places.combine.checked || name === NONE) {
      this.choose([name]);
    } else if (this.chain.includes(name)) {
      this.choose(this.chain.filter((step) => step !== name));
    } else {
      this.choose([...this.chain.filter((step) => step !== NONE), name]);
    }
  }

  /** @param {string[]} chain */
  choose(chain) {
    this.chain = chain.length > 0 ? chain : [NONE];
    this.render();
    this.send();
  }

  send() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.apply(this.chain.join("|"), this.given());
  }

  sendSoon() {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.send(), SETTLE);
  }

  render() {
    for (const button of this.places.gallery.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(this.chain.includes(button.dataset.effect ?? "")));
    }
    const focused = this.places.chain.contains(document.activeElement) ? document.activeElement : null;
    const shown = this.chain.filter((step) => step !== NONE);
    this.places.chain.replaceChildren(...shown.map((step, index) => this.step(step, index, shown.length)));
    this.places.panel.hidden = shown.length === 0;
    if (focused) this.restoreFocus(focused.getAttribute("aria-label"));
  }

  /**
   * The control that had the focus was made anew, or is gone.
   * @param {string | null} label
   */
  restoreFocus(label) {
    const buttons = [...this.places.chain.querySelectorAll("button")];
    const same = buttons.find((button) => button.getAttribute("aria-label") === label);
    const next = same ?? buttons[0] ?? this.places.gallery.querySelector("button[aria-pressed=true]");
    if (next instanceof HTMLElement) next.focus();
  }

  /**
   * @param {string} name
   * @param {number} index
   * @param {number} count
   */
  step(name, index, count) {
    const kind = this.kinds.find((k) => k.name === name);
    const head = element("div", { className: "step-head" }, element("span", { className: "grow" }, readable(name)));
    /** @type {(label: string, sign: string, act: () => void) => void} */
    const button = (label, sign, act) => {
      const made = element("button", { type: "button", title: label }, sign);
      made.setAttribute("aria-label", `${label}: ${readable(name)}`);
      made.addEventListener("click", act);
      head.append(made);
    };
    if (index > 0) button("Move earlier", "↑", () => this.swap(index, index - 1));
    if (index + 1 < count) button("Move later", "↓", () => this.swap(index, index + 1));
    if (kind?.parameters.length) {
      button("Reset", "Reset", () => {
        delete this.params[name];
        this.choose(this.chain);
      });
    }
    button("Remove", "×", () => this.choose(this.chain.filter((_, at) => at !== index)));
    const parameters = (kind?.parameters ?? []).map((parameter) => this.control(name, parameter));
    return element("li", { className: "step" }, head, ...parameters);
  }

  /**
   * @param {number} a
   * @param {number} b
   */
  swap(a, b) {
    const chain = [...this.chain];
    [chain[a], chain[b]] = [chain[b], chain[a]];
    this.choose(chain);
  }

  /**
   * One parameter with its input.
   * @param {string} effect
   * @param {Parameter} parameter
   */
  control(effect, parameter) {
    const value = this.params[effect]?.[parameter.name] ?? parameter.default;
    const output = element("output", {}, "");
    const unit = parameter.unit ? ` ${parameter.unit}` : "";
    /** @type {(value: unknown) => void} */
    const set = (changed) => {
      this.params[effect] = { ...this.params[effect], [parameter.name]: changed };
      this.sendSoon();
    };
    const label = element("span", {}, readable(parameter.name));
    const about = element("small", {}, parameter.description);
    const input = this.input(parameter, value, (changed) => {
      if (typeof changed === "number") output.value = `${changed}${unit}`;
      set(changed);
    });
    if (typeof value === "number") output.value = `${value}${unit}`;
    return element("label", { className: "parameter" }, label, output, about, input);
  }

  /**
   * @param {Parameter} parameter
   * @param {unknown} value
   * @param {(value: unknown) => void} onChange
   */
  input(parameter, value, onChange) {
    switch (parameter.type) {
      case "bool": {
        const box = element("input", { type: "checkbox", checked: value === true });
        box.addEventListener("change", () => onChange(box.checked));
        return box;
      }
      case "choice": {
        const options = (parameter.choices ?? []).map((word) => element("option", { value: word }, readable(word)));
        const select = element("select", {}, ...options);
        select.value = String(value);
        select.addEventListener("change", () => onChange(select.value));
        return select;
      }
      case "text": {
        if (COLOR.test(String(value))) {
          const color = element("input", { type: "color", value: String(value) });
          color.addEventListener("input", () => onChange(color.value));
          return color;
        }
        const text = element("input", { type: "text", value: String(value), maxLength: parameter.max ?? 200 });
        // Half a word may be none that the server knows.
        text.addEventListener("change", () => onChange(text.value));
        return text;
      }
      default: {
        const span = (parameter.max ?? 100) - (parameter.min ?? 0);
        const slider = element("input", { type: "range" });
        slider.min = String(parameter.min ?? 0);
        slider.max = String(parameter.max ?? 100);
        slider.step = parameter.type === "int" ? "1" : String(span / 200);
        slider.value = String(value);
        slider.addEventListener("input", () => {
          const exact = Number(slider.value);
          onChange(parameter.type === "int" ? exact : Number(exact.toPrecision(4)));
        });
        return slider;
      }
    }
  }
}
