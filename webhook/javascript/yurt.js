// Yurt in a browser: upload files with a ticket, hear of their results, show them. See docs/javascript.md.

/** @typedef {{pipeline: string, key: string, state: string, reason?: string, message?: string}} SettledEvent */
/** @typedef {{files: {name: string, url: string}[], verdict?: string, labels?: Record<string, any>}} ObjectResult */
/** What GET /v1/objects answers.
 * @typedef {{pipeline: string, key: string, state: string, result: ObjectResult | null,
 *   error: {reason: string, message: string} | null}} ObjectReport
 */

const HOME = new URL("./", import.meta.url).href, MIB = 1 << 20, MULTIPART_BYTES = 16 * MIB;
const PARTS_AT_ONCE = 4, FILES_AT_ONCE = 3, ATTEMPTS = 8, STALL_MS = 60000, SILENCE_MS = 40000;

/** What the elements say. Assign to it for another language. */
export const words = {
  choose: "Choose files, or drop them here", cancel: "Cancel", waiting: "waits", uploading: "uploads",
  processing: "is processed", done: "done", refused: "This photo was refused, and is not shown.",
  gone: "This file was deleted.", type: "This type of file is not taken here.", cancelled: "cancelled",
};

/** A call that failed. The message is the server's sentence; `status` is 0 where no answer came. */
export class YurtError extends Error {
  name = "YurtError";
  /** @param {string} message */
  constructor(message, { code = "unreachable", status = 0, retryAfter = 0 } = {}) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}


const both = (...signals) => AbortSignal.any(signals.filter(Boolean));
const backoff = (tries) => Math.min(30000, 500 * 2 ** tries) * (0.5 + Math.random() / 2);

function pause(ms, signal) {
  return new Promise((wake) => {
    signal?.addEventListener("abort", wake, { once: true });
    setTimeout(() => (navigator.onLine ? wake() : addEventListener("online", wake, { once: true })), ms);
  });
}

async function retried(attempt, signal) {
  for (let tries = 0; ; tries++) {
    signal?.throwIfAborted();
    try {
      return await attempt(tries);
    } catch (error) {
      signal?.throwIfAborted();
      const passing = error instanceof YurtError && (error.status >= 500 || [0, 408, 429].includes(error.status));
      if (!passing || tries + 1 >= ATTEMPTS) throw error;
      await pause(error.retryAfter * 1000 || backoff(tries), signal);
    }
  }
}

async function fetched(url, init, read = (answer) => answer) {
  try {
    const answer = await fetch(url, { cache: "no-store", ...init });
    if (answer.ok) return await read(answer);
    const { error, message } = await answer.json().catch(() => ({}));
    throw new YurtError(message ?? `${url} answered ${answer.status}`, {
      code: error, status: answer.status, retryAfter: Number(answer.headers.get("retry-after")),
    });
  } catch (error) {
    throw error instanceof YurtError ? error : new YurtError(`${url} cannot be reached: check the connection`);
  }
}

const at = (url, path) => url.replace(/\/*$/, "/v1/") + path;

function call({ url = HOME, ticket, signal }, method, path, body) {
  const headers = { authorization: `Bearer ${ticket}`, ...(body && { "content-type": "application/json" }) };
  const init = { method, headers, body: body && JSON.stringify(body), credentials: "omit" };
  return retried(() => fetched(
    at(url, path), { ...init, signal: both(signal, AbortSignal.timeout(STALL_MS)) }, (answer) => answer.json(),
  ), signal);
}


function put(url, headers, body, onloaded, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch tells no progress of what it sends
    const stop = () => request.abort();
    let timer = setTimeout(stop, STALL_MS);
    request.open("PUT", url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      clearTimeout(timer);
      timer = setTimeout(stop, STALL_MS);
      onloaded(event.loaded);
    };
    request.onloadend = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      const { status, responseText } = request;
      if (status >= 200 && status < 300) return resolve();
      reject(new YurtError(status
        ? `the store refused the file: ${/<Message>([^<]*)/.exec(responseText)?.[1] ?? status}`
        : "the store cannot be reached: check the connection, and that its CORS allows this page", { status }));
    };
    signal?.addEventListener("abort", stop);
    request.send(body);
  });
}

/** Remember an upload in parts, or forget it. */
function remember(note, parts) {
  try {
    delete localStorage[note];
    for (const [name, text] of Object.entries(localStorage)) {
      if (name.startsWith("yurt:") && Date.parse(JSON.parse(text).expires_at) < Date.now()) delete localStorage[name];
    }
    if (parts) localStorage[note] = JSON.stringify({ ...parts, arrived: [] });
  } catch { /* no storage: the upload works, and is begun anew after a reload */ }
}

function remembered(note) {
  try { return JSON.parse(localStorage[note]).id; } catch { return 0; }
}

function typeOf(file, name) {
  const type = file.type.split(";")[0].trim().toLowerCase();
  return type || (/\.hei[cf]$/i.test(name) ? "image/heic" : "application/octet-stream");
}

async function sendParts(file, { id, part_bytes, parts, arrived = [] }, who, onloaded) {
  const there = new Set(arrived.map(({ number }) => number)), flying = new Map(), failed = new AbortController();
  const signal = both(who.signal, failed.signal);
  const partOf = (number) => file.slice((number - 1) * part_bytes, number * part_bytes);
  let next = 1, stored = [...there].reduce((sum, number) => sum + partOf(number).size, 0);
  const tell = () => onloaded([...flying.values()].reduce((sum, loaded) => sum + loaded, stored));
  const lane = async () => {
    while (next <= parts) {
      const number = next++, part = partOf(number);
      if (there.has(number)) continue;
      await retried(async () => {
        const signed = await call({ ...who, signal }, "POST", `uploads/${id}/parts`, { numbers: [number] });
        await put(signed.parts[0].url, {}, part, (loaded) => { flying.set(number, loaded); tell(); }, signal);
      }, signal);
      flying.delete(number);
      stored += part.size;
    }
  };
  tell();
  try { await Promise.all(Array.from({ length: PARTS_AT_ONCE }, lane)); } finally { failed.abort(); }
}

async function sendAll(file, plan, who, onloaded) {
  for (let tries = 0; ; tries++) {
    await sendParts(file, plan, who, onloaded);
    try {
      return await call(who, "POST", `uploads/${plan.id}/complete`);
    } catch (error) {
      if (error.code !== "parts-missing" || tries) throw error;
      plan = await call(who, "GET", `uploads/${plan.id}`);
    }
  }
}

/** How an upload goes on that was begun before; undefined: it has ended. */
async function begun(who, id) {
  const ended = (error) => { if (error.status !== 404) throw error; };
  const status = await call(who, "GET", `uploads/${id}`).catch(ended);
  // The answer may have been lost.
  return status ? { ...status, multipart: status } : call(who, "POST", `uploads/${id}/complete`).catch(ended);
}

/**
 * Upload a file with a ticket. Above 16 MiB it goes in parts, and goes on after a reload.
 * @param {Blob} file
 * @param {{ticket: string, url?: string, name?: string, signal?: AbortSignal, resume?: boolean,
 *   onprogress?: (progress: {loaded: number, total: number}) => void}} options `signal` gives the upload up
 * @returns {Promise<{pipeline: string, key: string}>} Rejects with a YurtError, or the signal's reason
 */
export async function upload(file, { ticket, url, name = file["name"] || "file", signal, resume = true, onprogress }) {
  const who = { ticket, url, signal }, { size } = file;
  const note = `yurt:${[ticket.slice(-12), name, size, file["lastModified"]].join(":")}`; // not the whole ticket
  const onloaded = (loaded) => onprogress?.({ loaded, total: size });
  resume &&= "lastModified" in file; // another Blob may have the same name and size
  let id = resume ? remembered(note) : 0;
  try {
    const plan = (id && await begun(who, id)) || await call(who, "POST", "uploads", {
      name, size, content_type: typeOf(file, name), multipart: size > MULTIPART_BYTES || undefined,
    });
    if (plan.put) {
      await retried((tries) => put(plan.put.url, plan.put.headers, file, onloaded, signal).catch((error) => {
        if (error.status !== 412 || !tries) throw error; // an earlier try has arrived
      }), signal);
    } else if (plan.multipart) {
      id = plan.multipart.id;
      if (resume) remember(note, plan.multipart);
      await sendAll(file, plan.multipart, who, onloaded);
    }
    remember(note);
    onloaded(size);
    return { pipeline: plan.pipeline, key: plan.key };
  } catch (error) {
    if (signal?.aborted && id) {
      remember(note);
      call({ ...who, signal: undefined }, "DELETE", `uploads/${id}`).catch(() => {});
    }
    throw error;
  }
}


/** One stream of events for all listeners of a page with the same ticket. */
class Stream {
  static open = new Map();
  listeners = new Set();
  last = "";
  constructor(url, ticket) {
    this.url = url;
    this.ticket = ticket;
  }

  tell(name, value) {
    for (const listener of [...this.listeners]) listener[name]?.(value);
  }

  async run() {
    const ended = new AbortController(), { signal } = ended;
    // A browser that slept has a connection that only looks open.
    const check = () => { if (Date.now() - this.heard > SILENCE_MS) this.cut.abort(); };
    const timer = setInterval(check, 5000);
    document.addEventListener("visibilitychange", check, { signal });
    addEventListener("online", () => this.cut.abort(), { signal });
    for (let tries = 0; this.listeners.size; tries++) {
      this.cut = new AbortController();
      this.heard = Date.now();
      try {
        await this.read(() => { tries = 0; });
      } catch (error) {
        if (error.status >= 400 && error.status < 500 && error.status !== 429) {
          Stream.open.delete(this.url + this.ticket);
          this.tell("onerror", error);
          this.listeners.clear();
        }
      }
      this.heard = Infinity;
      if (!this.cut.signal.aborted) await pause(backoff(tries), this.cut.signal);
    }
    clearInterval(timer);
    ended.abort();
  }

  async read(onopen) {
    const headers = { authorization: `Bearer ${this.ticket}`, ...(this.last && { "last-event-id": this.last }) };
    const answer = await fetched(at(this.url, "events"), { headers, credentials: "omit", signal: this.cut.signal });
    onopen();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; text.length < MIB;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.heard = Date.now();
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        this.take(Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2))));
      }
    }
    this.cut.abort();
  }

  take({ id, event, data }) {
    if (!id) return;
    const first = !this.last;
    this.last = id;
    if (first || event === "gap") this.tell("onsync");
    if (event === "settled") this.tell("onevent", JSON.parse(data));
  }
}

/**
 * Hear of results as they are settled, over one stream for the page, which reconnects. `onsync`: it begins, or has
 * missed something: read again what you show. `onerror`: it has ended.
 * @param {{ticket: string, url?: string, signal?: AbortSignal, onevent?: (event: SettledEvent) => void,
 *   onsync?: () => void, onerror?: (error: Error) => void}} options
 * @returns {() => void}
 */
export function watch({ ticket, url = HOME, signal, ...listener }) {
  const known = Stream.open.get(url + ticket), stream = known ?? new Stream(url, ticket);
  const stop = () => {
    if (!stream.listeners.delete(listener) || stream.listeners.size) return;
    Stream.open.delete(url + ticket);
    stream.cut.abort();
  };
  signal?.addEventListener("abort", stop, { once: true });
  stream.listeners.add(listener);
  if (!known) {
    Stream.open.set(url + ticket, stream);
    stream.run();
  } else if (stream.last) queueMicrotask(() => listener.onsync?.());
  return stop;
}

/**
 * Wait until an object is settled.
 * @param {{pipeline: string, key: string, ticket: string, url?: string, signal?: AbortSignal}} options
 * @returns {Promise<ObjectReport>}
 */
export async function result({ pipeline, key, ticket, url, signal }) {
  const path = `objects/${[pipeline, ...key.split("/")].map(encodeURIComponent).join("/")}`;
  const look = async () => {
    const report = await call({ ticket, url, signal }, "GET", path).catch((error) => {
      if (error.code !== "unknown-object") throw error; // no event of it has come yet
    });
    return report && !unsettled(report) ? report : null;
  };
  return (await look()) ?? new Promise((resolve, reject) => {
    const fail = (error) => { stop(); reject(error); };
    const onsync = () => look().then((report) => { if (report) { stop(); resolve(report); } }, fail);
    const stop = watch({
      ticket, url, onsync, onerror: fail,
      onevent: (event) => { if (event.key === key && event.pipeline === pipeline) onsync(); },
    });
    signal?.addEventListener("abort", () => fail(signal.reason), { once: true });
  });
}

const unsettled = ({ state }) => state === "pending" || state === "leased";
const isRefused = ({ result }) => result?.verdict === "refused" || result?.labels?.verdict === "refused";


/**
 * Decode a ThumbHash (https://evanw.github.io/thumbhash/) into pixels, 32 along the longer side.
 * @param {string} hash Base64
 * @returns {ImageData | null} null: it is none
 */
export function thumbhash(hash) {
  let packed;
  try { packed = Uint8Array.from(atob(hash), (character) => character.charCodeAt(0)); } catch { return null; }
  const [b0, b1, b2, b3, b4] = packed, alpha = b2 >> 7, shorter = b3 & 7, longer = alpha ? 5 : 7;
  if (packed.length < 5 || packed.length > 64 || !shorter) return null;
  let nibble = 2 * (5 + alpha);
  const channel = (average, scale, nx = 3, ny = 3) => {
    const waves = [];
    for (let y = 0; y < ny; y++) {
      for (let x = y ? 0 : 1; x * ny < nx * (ny - y); x++, nibble++) {
        waves.push([x, y, 2 * scale * ((packed[nibble >> 1] >> nibble % 2 * 4 & 15) / 7.5 - 1)]);
      }
    }
    return (x, y) => waves.reduce((sum, [across, down, part]) => (
      sum + part * Math.cos(Math.PI * across * x) * Math.cos(Math.PI * down * y)), average);
  };
  const [nx, ny] = b4 >> 7 ? [longer, shorter] : [shorter, longer], head = b0 | b1 << 8 | b2 << 16;
  const luminance = channel((head & 63) / 63, (head >> 18 & 31) / 31, Math.max(3, nx), Math.max(3, ny));
  // 1.25: some of the colour that four bits lose.
  const yellow = channel((head >> 6 & 63) / 31.5 - 1, (b3 >> 3 | (b4 & 1) << 5) / 63 * 1.25);
  const red = channel((head >> 12 & 63) / 31.5 - 1, (b4 >> 1 & 63) / 63 * 1.25);
  const opacity = alpha ? channel((packed[5] & 15) / 15, (packed[5] >> 4) / 15, 5, 5) : () => 1;
  if (nibble > 2 * packed.length) return null;
  const image = new ImageData(Math.round(32 * Math.min(1, nx / ny)), Math.round(32 * Math.min(1, ny / nx)));
  for (let pixel = 0; pixel < image.width * image.height; pixel++) {
    const x = (pixel % image.width + 0.5) / image.width, y = (Math.floor(pixel / image.width) + 0.5) / image.height;
    const l = luminance(x, y), q = red(x, y), b = l - yellow(x, y) * 2 / 3, r = (3 * l - b + q) / 2;
    image.data.set([r, r - q, b, opacity(x, y)].map((value) => 255 * value), 4 * pixel);
  }
  return image;
}


/** @returns {any} */
function made(name, part, fields) {
  const element = document.createElement(name);
  element.setAttribute("part", part);
  return Object.assign(element, fields);
}

class YurtElement extends HTMLElement {
  constructor(css) {
    super();
    const style = new CSSStyleSheet(); // which a strict policy allows
    style.replaceSync(css);
    this.root = this.attachShadow({ mode: "open" });
    this.root.adoptedStyleSheets = [style];
  }
  get url() { return this.getAttribute("url") ?? HOME; }
  fire(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }
}

/**
 * `<yurt-image pipeline key ticket alt>` or `<yurt-image object="JSON" alt>`: the placeholder at once, and the
 * thumbnail when it is there. Its attribute `state` is `waiting`, `done`, `refused`, `parked`, `gone` or `failed`.
 */
export class YurtImage extends YurtElement {
  static observedAttributes = ["pipeline", "key", "ticket", "object", "url", "sizes", "alt"];
  #following = new AbortController();
  #changing = false;
  #renewed = false;
  #file = null;
  #report = null;
  #canvas = made("canvas", "placeholder", { role: "img" });
  #image = made("img", "image", { loading: "lazy" });
  #message = made("div", "message");

  constructor() {
    super(`:host { display: inline-grid; overflow: hidden; vertical-align: top;
        background: var(--yurt-background, #8882); border-radius: var(--yurt-radius, 0) }
      canvas, img, div { grid-area: 1 / 1; min-width: 0; min-height: 0; width: 100%; height: 100% }
      canvas, img { object-fit: var(--yurt-fit, cover) }
      div { display: grid; place-content: center; justify-items: center; text-align: center;
        padding: .5em; box-sizing: border-box }
      i { width: 48px; height: 48px; opacity: .6; background: currentColor;
        clip-path: path(evenodd, "M24 2 6 10v12c0 11 7.6 21.4 18 24 10.4-2.6 18-13 18-24V10zM35 31l-3 3L14 16l3-3z") }
      .loading { opacity: 0 }
      [hidden] { display: none }
      @media (prefers-reduced-motion: no-preference) { img { transition: opacity var(--yurt-fade, .3s) } }`);
    this.root.append(this.#canvas, this.#image, this.#message);
    this.#image.onload = () => { this.#image.className = ""; this.#canvas.hidden = true; };
    this.#image.onerror = () => this.#lost();
  }

  /** The object that is shown. @returns {ObjectReport | null} */
  get object() { return this.#report; }
  set object(report) {
    this.#report = report;
    this.#renewed = false;
    this.#change();
  }

  /** A file whose small picture is the placeholder until there is another one. @param {Blob} file */
  set file(file) {
    this.#file = file;
    this.#change();
  }

  connectedCallback() { this.#change(); }
  disconnectedCallback() { this.#following.abort(); }
  attributeChangedCallback(name, _old, value) {
    if (name === "object") {
      try { this.object = JSON.parse(value); } catch { this.object = null; }
    } else if (name === "key" || name === "pipeline") this.object = null;
    else this.#change();
  }

  #change() {
    if (!this.#changing) queueMicrotask(() => { this.#changing = false; if (this.isConnected) this.#update(); });
    this.#changing = true;
  }

  #update() {
    this.#following.abort();
    this.#following = new AbortController();
    const { signal } = this.#following, report = this.#report, ticket = this.getAttribute("ticket");
    const pipeline = report?.pipeline ?? this.getAttribute("pipeline"), key = report?.key ?? this.getAttribute("key");
    this.#show(report);
    if (!ticket || !pipeline || !key || (report && !unsettled(report))) return;
    result({ pipeline, key, ticket, url: this.url, signal }).then((object) => {
      this.#show(this.#report = object);
      this.fire("yurt-result", { object });
    }).catch((error) => { if (!signal.aborted) this.#fail(error); });
  }

  #fail(error) {
    this.#say("failed", error.message);
    this.fire("yurt-error", { error });
  }

  /** The URLs of a result live an hour: with a ticket there are new ones. */
  #lost() {
    if (this.#renewed || !this.hasAttribute("ticket")) return this.#fail(new YurtError("the picture cannot be loaded"));
    this.object = { ...this.#report, state: "pending", result: { ...this.#report.result, files: [] } };
    this.#renewed = true;
  }

  #show(report) {
    const { state = "pending", result = null, error = null } = report ?? {};
    if (state === "parked") return this.#say(state, error?.message);
    if (state === "gone" || state === "forgotten") return this.#say("gone", words.gone);
    if (isRefused({ result })) return this.#say("refused", words.refused);
    this.setAttribute("state", state === "done" ? state : "waiting");
    this.#message.hidden = true;
    this.#canvas.ariaLabel = this.#image.alt = this.getAttribute("alt") ?? this.#described(report);
    this.#load(result ?? { files: [] });
    this.#place(result?.labels?.thumbhash);
  }

  #described(report) {
    const checks = report?.result?.labels?.checks, key = report?.key ?? this.getAttribute("key") ?? "";
    const seen = checks?.flatMap?.(({ labels }) => labels?.slice?.(0, 2).map(({ label }) => label));
    return seen?.join(", ") || key.split("/").pop();
  }

  async #place(hash) {
    const canvas = this.#canvas, pixels = hash ? thumbhash(hash) : null;
    const shown = pixels ?? (this.#file && await createImageBitmap(this.#file, { resizeWidth: 32 }).catch(() => null));
    const loaded = this.#image.srcset && !this.#image.className;
    canvas.hidden = !shown || !!loaded;
    if (canvas.hidden) return;
    Object.assign(canvas, { width: shown.width, height: shown.height });
    if (pixels) canvas.getContext("2d").putImageData(pixels, 0, 0);
    else canvas.getContext("2d").drawImage(shown, 0, 0);
  }

  #load({ files, labels }) {
    const { width = 0, height = 0 } = labels ?? {}, image = this.#image;
    const srcset = files.flatMap(({ name, url }) => {
      const side = parseInt(/^\d+(?=\.)/.exec(name)?.[0]);
      return side ? `${url} ${Math.ceil(width * Math.min(1, side / Math.max(width, height))) || side}w` : [];
    }).join(", ");
    image.sizes = this.getAttribute("sizes") ?? "auto, 100vw";
    if (width) Object.assign(image, { width, height });
    image.hidden = !srcset;
    if (image.srcset === srcset) return;
    image.className = "loading";
    if (srcset) image.srcset = srcset;
    else image.removeAttribute("srcset"); // an empty one would be an error
  }

  #say(state, text) {
    this.setAttribute("state", state);
    this.#canvas.hidden = this.#image.hidden = true;
    this.#message.hidden = false;
    this.#message.replaceChildren(made("span", "text", { textContent: text }));
    if (state === "refused") this.#message.prepend(made("i", "shield"));
  }
}

/** `<yurt-upload ticket-url accept multiple>`: a place to drop files on, a button, and what becomes of each file. */
export class YurtUpload extends YurtElement {
  #input = made("input", "input", { type: "file", hidden: true });
  #drop = made("div", "drop", { className: "drop" });
  #list = made("ul", "list");
  #status = made("p", "status", { role: "status" });
  #waiting = [];
  #running = 0;
  #ticket = null;

  constructor() {
    super(`:host { display: block; --accent: var(--yurt-accent, #2f6fde) }
      .drop, button { border: 2px dashed var(--yurt-border, #8888); border-radius: var(--yurt-radius, .5em) }
      .drop { padding: var(--yurt-padding, 2em); background: var(--yurt-background); text-align: center }
      .over { border-color: var(--accent) }
      button { font: inherit; color: inherit; background: none; border: 1px solid; min-height: 2.75em; padding: 0 1em }
      :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
      ul { list-style: none; margin: .5em 0 0; padding: 0 }
      li { display: grid; grid-template-columns: 1fr auto auto; gap: .25em 1em; align-items: center; padding: .25em 0 }
      bdi { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
      progress { grid-column: 1 / -1; width: 100%; accent-color: var(--accent) }
      p { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
      [hidden] { display: none }`);
    const input = this.#input, drop = this.#drop, button = made("button", "button", { type: "button" });
    button.append(Object.assign(document.createElement("slot"), { textContent: words.choose }));
    drop.append(button, input);
    this.root.append(drop, this.#list, this.#status);
    button.onclick = () => {
      Object.assign(input, { accept: this.getAttribute("accept") ?? "", multiple: this.hasAttribute("multiple") });
      input.click();
    };
    input.onchange = () => { this.add(input.files); input.value = ""; };
    drop.ondragover = drop.ondragleave = drop.ondrop = (event) => {
      event.preventDefault();
      drop.classList.toggle("over", event.type === "dragover");
      if (event.type === "drop") this.add(event.dataTransfer.files);
    };
  }

  /** Upload files as if they had been chosen. @param {Iterable<File>} files */
  add(files) {
    for (const file of [...files].slice(0, this.hasAttribute("multiple") ? Infinity : 1)) {
      const row = new Row(file);
      this.#list.append(row.item);
      if (this.#takes(file)) this.#waiting.push(row);
      else this.#failed(row, new YurtError(words.type, { code: "type-not-allowed" }));
    }
    for (let lane = 0; lane < FILES_AT_ONCE; lane++) this.#next();
  }

  #takes(file) {
    const accepted = (this.getAttribute("accept") ?? "").toLowerCase().match(/[^\s,]+/g);
    const name = file.name.toLowerCase(), type = typeOf(file, name);
    const kinds = [type, type.replace(/\/.*/, "/*"), "*/*"];
    return !accepted || accepted.some((part) => (part[0] === "." ? name.endsWith(part) : kinds.includes(part)));
  }

  async #next() {
    if (this.#running >= FILES_AT_ONCE || !this.#waiting.length) return;
    this.#running++;
    const row = this.#waiting.shift();
    try {
      row.signal.throwIfAborted();
      const place = await this.#uploaded(row);
      row.uploaded();
      this.fire("yurt-upload", { file: row.file, ...place });
      this.#follow(row, place);
    } catch (error) { this.#failed(row, error); }
    this.#running--;
    this.#next();
  }

  async #uploaded({ file, signal, onprogress }) {
    for (let tries = 0; ; tries++) {
      const asked = this.#ticket ??= this.#ask(), ticket = await asked;
      try {
        return { ticket, ...await upload(file, { ticket, url: this.url, signal, onprogress }) };
      } catch (error) {
        if (tries || !["ticket-used", "unauthorized"].includes(error.code)) throw error;
        if (this.#ticket === asked) this.#ticket = null;
      }
    }
  }

  async #ask() {
    const url = new URL(this.getAttribute("ticket-url") ?? "/ticket", location.href).href;
    const body = JSON.stringify({ uploads: this.#waiting.length + this.#running });
    const init = { method: "POST", headers: { "content-type": "application/json" }, body };
    try {
      return (await retried(() => fetched(url, init, (answer) => answer.json()))).ticket;
    } catch (error) {
      this.#ticket = null;
      throw error;
    }
  }

  async #follow(row, { ticket, pipeline, key }) {
    try {
      const object = await result({ pipeline, key, ticket, url: this.url });
      if (object.error) throw new YurtError(object.error.message, { code: object.error.reason });
      const state = isRefused(object) ? "refused" : object.state;
      this.#finish(row, words[state] ?? words.gone, state);
      this.fire("yurt-result", { file: row.file, ticket, object });
    } catch (error) { this.#failed(row, error); }
  }

  #failed(row, error) {
    if (row.signal.aborted) return;
    this.#finish(row, error.message, "failed");
    this.fire("yurt-error", { file: row.file, error });
  }

  #finish(row, text, state) {
    row.end(text, state);
    this.#status.textContent = `${row.file.name}: ${text}`;
  }
}

class Row {
  #stop = new AbortController();
  #bar = made("progress", "progress", { max: 1, value: 0 });
  #text = made("span", "text", { textContent: words.waiting });
  #cancel = made("button", "cancel", { type: "button", textContent: words.cancel, onclick: () => this.#stop.abort() });
  item = made("li", "file");
  signal = this.#stop.signal;

  constructor(file) {
    this.file = file;
    this.#cancel.ariaLabel = `${words.cancel}: ${file.name}`;
    this.#bar.ariaLabel = file.name;
    this.signal.addEventListener("abort", () => this.end(words.cancelled, "cancelled"));
    this.item.append(made("bdi", "name", { textContent: file.name }), this.#text, this.#cancel, this.#bar);
  }
  onprogress = ({ loaded, total }) => {
    this.#bar.value = total ? loaded / total : 1;
    this.#text.textContent = `${words.uploading} ${Math.floor(100 * this.#bar.value)} %`;
  };
  uploaded() {
    this.#text.textContent = words.processing;
    this.#cancel.hidden = true;
  }
  end(text, state) {
    this.#text.textContent = text;
    this.#cancel.hidden = this.#bar.hidden = true;
    this.item.dataset.state = state;
    this.item.setAttribute("part", `file ${state}`);
  }
}

for (const [name, element] of Object.entries({ "yurt-image": YurtImage, "yurt-upload": YurtUpload })) {
  if (!customElements.get(name)) customElements.define(name, element);
}
