// Yurt in a browser: upload files with a ticket, hear of their results, show them. See docs/javascript.md.

/** @typedef {{name: string, url: string, etag: string, size?: number, content_type?: string}} ResultFile */
/** @typedef {{etag: string, files: ResultFile[], verdict?: string, labels?: Record<string, any>}} ObjectResult */
/**
 * An object, as GET /v1/objects answers it.
 * @typedef {{pipeline: string, key: string, state: string, result: ObjectResult | null,
 *   error: {reason: string, message: string} | null}} ObjectReport
 */
/**
 * @typedef {{pipeline: string, key: string, state: string, settled_at: string, changed?: boolean, etag?: string,
 *   reason?: string, message?: string}} SettledEvent
 */
/** @typedef {{id: number, part_bytes: number, parts: number, expires_at: string, arrived?: {number: number}[]}} Parts */

const HOME = new URL("./", import.meta.url).href;
const MIB = 1 << 20, MULTIPART_BYTES = 16 * MIB, LANES = 4, FILES_AT_ONCE = 3;
const ATTEMPTS = 8, STALL_MS = 60000, SILENCE_MS = 40000, MOST_EVENT_CHARACTERS = MIB;
const UNSETTLED = ["pending", "leased"];

/** What the elements say. Assign to it for another language. */
export const words = {
  choose: "Choose files, or drop them here", cancel: "Cancel", waiting: "waits", uploading: "uploads",
  processing: "is processed", done: "done", refused: "This photo was refused, and is not shown.",
  gone: "This file was deleted.", type: "This type of file is not taken here.", cancelled: "cancelled",
};

/** A call that failed. The message is the server's sentence; `status` is 0 where no answer came. */
export class YurtError extends Error {
  /** @param {string} message @param {{code?: string, status?: number, retryAfter?: number}} [more] */
  constructor(message, { code = "unreachable", status = 0, retryAfter = 0 } = {}) {
    super(message);
    this.name = "YurtError";
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/* ── calls ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

/** @param {number} ms @param {AbortSignal} [signal] */
async function pause(ms, signal) {
  await new Promise((go) => {
    const timer = setTimeout(go, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); go(0); }, { once: true });
  });
  if (!navigator.onLine && !signal?.aborted) {
    await new Promise((go) => {
      addEventListener("online", go, { once: true });
      signal?.addEventListener("abort", go, { once: true });
    });
  }
}

/** @param {number} tries */
const backoff = (tries) => Math.min(30000, 500 * 2 ** tries) * (0.5 + Math.random() / 2);

/** @template T @param {(tries: number) => Promise<T>} attempt @param {AbortSignal} [signal] @returns {Promise<T>} */
async function retried(attempt, signal) {
  for (let tries = 0; ; tries++) {
    signal?.throwIfAborted();
    try {
      return await attempt(tries);
    } catch (/** @type {any} */ error) {
      signal?.throwIfAborted();
      const passing = error instanceof YurtError && (error.status >= 500 || [0, 408, 429].includes(error.status));
      if (!passing || tries + 1 >= ATTEMPTS) throw error;
      await pause(error.retryAfter * 1000 || backoff(tries), signal);
    }
  }
}

/** @param {string} url @param {RequestInit} init */
async function answered(url, init) {
  let answer;
  try {
    answer = await fetch(url, { cache: "no-store", ...init });
  } catch {
    init.signal?.throwIfAborted();
    throw new YurtError(`${new URL(url, location.href).host} cannot be reached. Check the connection, and try again`);
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new YurtError(said.message ?? `the server answered ${answer.status}`, {
    code: said.error, status: answer.status, retryAfter: Number(answer.headers.get("retry-after")),
  });
}

/** @param {string} url @param {string} path */
const at = (url, path) => new URL(path, url.replace(/\/*$/, "/")).href;

/**
 * @param {{url?: string, ticket: string, signal?: AbortSignal}} who
 * @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>}
 */
function call({ url = HOME, ticket, signal }, method, path, body) {
  /** @type {Record<string, string>} */
  const headers = { authorization: `Bearer ${ticket}` };
  if (body) headers["content-type"] = "application/json";
  const once = async () => (await answered(at(url, path), {
    method, headers, body: body && JSON.stringify(body), credentials: "omit",
    signal: AbortSignal.any([AbortSignal.timeout(STALL_MS), ...(signal ? [signal] : [])]),
  })).json();
  return retried(once, signal);
}

/* ── uploading ──────────────────────────────────────────────────────────────────────────────────────────────────── */

/**
 * @param {string} url @param {Record<string, string>} headers @param {Blob} body
 * @param {(loaded: number) => void} onloaded @param {AbortSignal} [signal] @returns {Promise<void>}
 */
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
      const { status } = request;
      if (signal?.aborted) reject(signal.reason);
      else if (status >= 200 && status < 300) resolve();
      else reject(new YurtError(status
        ? `the store refused the file: ${/<Message>([^<]*)/.exec(request.responseText)?.[1] ?? status}`
        : "the store cannot be reached: check the connection, and that the bucket's CORS allows this page", { status }));
    };
    signal?.addEventListener("abort", stop);
    request.send(body);
  });
}

/** Remembers an upload in parts, so that it goes on after a reload. The ticket itself is not stored. */
class Note {
  /** @param {string} ticket @param {Blob} file @param {string} name */
  constructor(ticket, file, name) {
    const { lastModified = 0 } = /** @type {File} */ (file);
    this.name = `yurt:${[ticket.slice(-12), name, file.size, lastModified].join(":")}`;
  }
  /** @returns {{id: number, expires: string} | null} */
  read() {
    try { return JSON.parse(localStorage.getItem(this.name) ?? "null"); } catch { return null; }
  }
  /** @param {Parts | null} parts */
  write(parts) {
    try {
      for (const name of Object.keys(localStorage)) {
        if (name.startsWith("yurt:") && Date.parse(JSON.parse(localStorage[name]).expires) < Date.now()) delete localStorage[name];
      }
      if (parts) localStorage[this.name] = JSON.stringify({ id: parts.id, expires: parts.expires_at });
      else delete localStorage[this.name];
    } catch { /* no storage: the upload works, and is begun anew after a reload */ }
  }
}

/** @param {Blob} file @param {string} name */
function typeOf(file, name) {
  const type = file.type.split(";")[0].trim().toLowerCase();
  return type || (/\.hei[cf]$/i.test(name) ? "image/heic" : "application/octet-stream"); // not all browsers know it
}

/**
 * @param {Blob} file @param {Parts} plan @param {{url?: string, ticket: string, signal?: AbortSignal}} who
 * @param {(loaded: number) => void} onloaded
 */
async function sendParts(file, { id, part_bytes, parts, arrived = [] }, who, onloaded) {
  const there = new Set(arrived.map(({ number }) => number)), flying = new Map();
  const partOf = (/** @type {number} */ number) => file.slice((number - 1) * part_bytes, number * part_bytes);
  let next = 1, stored = [...there].reduce((sum, number) => sum + partOf(number).size, 0);
  const tell = () => onloaded([...flying.values()].reduce((sum, loaded) => sum + loaded, stored));
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(who.signal ? [who.signal] : [])]);
  const lane = async () => {
    while (next <= parts) {
      const number = next++;
      if (there.has(number)) continue;
      await retried(async () => {
        const signed = await call({ ...who, signal }, "POST", `v1/uploads/${id}/parts`, { numbers: [number] });
        await put(signed.parts[0].url, {}, partOf(number), (loaded) => { flying.set(number, loaded); tell(); }, signal);
      }, signal);
      flying.delete(number);
      stored += partOf(number).size;
    }
  };
  tell();
  try {
    await Promise.all(Array.from({ length: LANES }, lane));
  } finally { failed.abort(); }
}

/**
 * Upload a file with a ticket. Large files go in parts, and go on after a reload with the same ticket.
 * @param {Blob} file
 * @param {{ticket: string, url?: string, name?: string, signal?: AbortSignal, resume?: boolean,
 *   onprogress?: (progress: {loaded: number, total: number}) => void}} options `signal` gives the upload up
 * @returns {Promise<{pipeline: string, key: string}>} Raises YurtError, or the signal's reason
 */
export async function upload(file, { ticket, url, name = /** @type {File} */ (file).name || "file", signal, resume = true, onprogress }) {
  const who = { ticket, url, signal }, note = new Note(ticket, file, name);
  const onloaded = (/** @type {number} */ loaded) => onprogress?.({ loaded, total: file.size });
  let id = (resume && note.read()?.id) || 0;
  try {
    let plan = id ? await begun(who, id) : null;
    if (!plan) {
      const multipart = file.size > MULTIPART_BYTES || undefined;
      plan = await call(who, "POST", "v1/uploads", { name, size: file.size, content_type: typeOf(file, name), multipart });
    }
    if (plan.put) {
      await retried((tries) => put(plan.put.url, plan.put.headers, file, onloaded, signal).catch((error) => {
        if (error.status !== 412 || !tries) throw error; // an earlier try arrived, and its answer was lost
      }), signal);
    } else if (plan.multipart) {
      id = plan.multipart.id;
      if (resume) note.write(plan.multipart);
      await sendAll(file, plan.multipart, who, onloaded);
    }
    note.write(null);
    onloaded(file.size);
    return { pipeline: plan.pipeline, key: plan.key };
  } catch (error) {
    if (signal?.aborted && id) {
      note.write(null);
      call({ ticket, url }, "DELETE", `v1/uploads/${id}`).catch(() => {});
    }
    throw error;
  }
}

/** @param {Blob} file @param {Parts} plan @param {any} who @param {(loaded: number) => void} onloaded */
async function sendAll(file, plan, who, onloaded) {
  for (let tries = 0; ; tries++) {
    await sendParts(file, plan, who, onloaded);
    try {
      return await call(who, "POST", `v1/uploads/${plan.id}/complete`);
    } catch (/** @type {any} */ error) {
      if (error.code !== "parts-missing" || tries) throw error;
      plan = await call(who, "GET", `v1/uploads/${plan.id}`);
    }
  }
}

/** How an upload goes on that was begun before; null: it has ended. @param {any} who @param {number} id */
async function begun(who, id) {
  const ended = (/** @type {any} */ error) => { if (error.status !== 404) throw error; };
  const status = await call(who, "GET", `v1/uploads/${id}`).catch(ended);
  // Its parts may have been put together, and the answer lost.
  return status ? { ...status, multipart: status } : call(who, "POST", `v1/uploads/${id}/complete`).catch(ended);
}

/* ── events ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

/**
 * @typedef {{onevent?: (event: SettledEvent) => void, onsync?: () => void, onerror?: (error: Error) => void}} Listener
 */

/** One stream of events for all listeners of a page with the same ticket. */
class Stream {
  /** @type {Map<string, Stream>} */
  static open = new Map();
  /** @type {Set<Listener>} */
  listeners = new Set();
  last = "";
  heard = 0;
  cut = new AbortController();

  /** @param {string} url @param {string} ticket */
  constructor(url, ticket) {
    this.url = url;
    this.ticket = ticket;
  }

  /** @param {"onevent" | "onsync" | "onerror"} name @param {any} [value] */
  tell(name, value) {
    for (const listener of [...this.listeners]) listener[name]?.(value);
  }

  async run() {
    const wake = (/** @type {Event} */ event) => {
      // A browser that slept has a connection that only looks open.
      if (event.type === "online" || (!document.hidden && Date.now() - this.heard > SILENCE_MS / 2)) this.cut.abort();
    };
    const watchdog = setInterval(() => { if (Date.now() - this.heard > SILENCE_MS) this.cut.abort(); }, 5000);
    addEventListener("online", wake);
    document.addEventListener("visibilitychange", wake);
    for (let tries = 0; this.listeners.size; tries++) {
      this.cut = new AbortController();
      this.heard = Date.now();
      try {
        await this.read(() => { tries = 0; });
      } catch (/** @type {any} */ error) {
        if (error.status >= 400 && error.status < 500 && error.status !== 429) { this.tell("onerror", error); break; }
      }
      if (!this.cut.signal.aborted) {
        this.heard = Infinity;
        await pause(backoff(tries), this.cut.signal);
      }
    }
    clearInterval(watchdog);
    removeEventListener("online", wake);
    document.removeEventListener("visibilitychange", wake);
    if (Stream.open.get(this.url + this.ticket) === this) Stream.open.delete(this.url + this.ticket);
  }

  /** @param {() => void} onopen */
  async read(onopen) {
    /** @type {Record<string, string>} */
    const headers = { authorization: `Bearer ${this.ticket}` };
    if (this.last) headers["last-event-id"] = this.last;
    const answer = await answered(at(this.url, "v1/events"), { headers, credentials: "omit", signal: this.cut.signal });
    onopen();
    const reader = /** @type {ReadableStream} */ (answer.body).pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
      const { done, value } = await reader.read();
      if (done || text.length > MOST_EVENT_CHARACTERS) return;
      this.heard = Date.now();
      const blocks = (text + value).split("\n\n");
      text = /** @type {string} */ (blocks.pop());
      for (const block of blocks) {
        this.take(Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2))));
      }
    }
  }

  /** @param {Record<string, string>} fields */
  take({ id, event, data }) {
    if (!id) return;
    const first = !this.last;
    this.last = id;
    if (first || event === "gap") this.tell("onsync");
    if (event === "settled") this.tell("onevent", JSON.parse(data));
  }
}

/**
 * Hear of results as they are settled, over one stream for the page, which comes back by itself and misses nothing.
 * `onsync` is called when it begins, or has missed something: read then what you show. `onerror`: it has ended.
 * @param {Listener & {ticket: string, url?: string, signal?: AbortSignal}} options
 * @returns {() => void} Ends it
 */
export function watch({ ticket, url = HOME, signal, ...listener }) {
  const known = Stream.open.get(url + ticket), stream = known ?? new Stream(url, ticket);
  const stop = () => {
    stream.listeners.delete(listener);
    if (!stream.listeners.size) {
      Stream.open.delete(url + ticket);
      stream.cut.abort();
    }
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
  const path = `v1/objects/${[pipeline, ...key.split("/")].map(encodeURIComponent).join("/")}`;
  const look = async () => {
    try {
      const report = await call({ ticket, url, signal }, "GET", path);
      return UNSETTLED.includes(report.state) ? null : report;
    } catch (/** @type {any} */ error) {
      if (error.code !== "unknown-object") throw error; // no event of it has come yet
      return null;
    }
  };
  return (await look()) ?? new Promise((resolve, reject) => {
    const onsync = () => look().then((report) => { if (report) { stop(); resolve(report); } }, fail);
    const fail = (/** @type {unknown} */ error) => { stop(); reject(error); };
    const stop = watch({
      ticket, url, onsync, onerror: fail,
      onevent: (event) => { if (event.key === key && event.pipeline === pipeline) onsync(); },
    });
    signal?.addEventListener("abort", () => fail(signal.reason), { once: true });
  });
}

/* ── placeholders ───────────────────────────────────────────────────────────────────────────────────────────────── */

/**
 * Decode a ThumbHash (https://evanw.github.io/thumbhash/) into pixels, 32 along the longer side.
 * @param {string} hash Base64
 * @returns {ImageData | null} null: it is none
 */
export function thumbhash(hash) {
  let packed;
  try { packed = Uint8Array.from(atob(hash), (character) => character.charCodeAt(0)); } catch { return null; }
  const [b0, b1, b2, b3, b4] = packed, alpha = b2 >> 7, landscape = b4 >> 7, shorter = b3 & 7, longer = alpha ? 5 : 7;
  if (packed.length < 5 || packed.length > 64 || !shorter) return null;
  let at = 2 * (5 + alpha);
  /** One channel: its value at a place. @param {number} average @param {number} scale @param {number} nx @param {number} ny */
  const channel = (average, scale, nx, ny) => {
    /** @type {number[][]} */
    const waves = [];
    for (let y = 0; y < ny; y++) {
      for (let x = y ? 0 : 1; x * ny < nx * (ny - y); x++, at++) {
        waves.push([x, y, 2 * scale * (((packed[at >> 1] >> (at % 2) * 4) & 15) / 7.5 - 1)]);
      }
    }
    return (/** @type {number} */ x, /** @type {number} */ y) => waves.reduce(
      (sum, [across, down, part]) => sum + part * Math.cos(Math.PI * across * x) * Math.cos(Math.PI * down * y), average);
  };
  const [nx, ny] = landscape ? [longer, shorter] : [shorter, longer], middle = b0 | b1 << 8 | b2 << 16;
  const luminance = channel((middle & 63) / 63, (middle >> 18 & 31) / 31, Math.max(3, nx), Math.max(3, ny));
  // 1.25: some of the colour that four bits lose.
  const yellow = channel((middle >> 6 & 63) / 31.5 - 1, (b3 >> 3 | (b4 & 1) << 5) / 63 * 1.25, 3, 3);
  const red = channel((middle >> 12 & 63) / 31.5 - 1, (b4 >> 1 & 63) / 63 * 1.25, 3, 3);
  const opaque = alpha ? channel((packed[5] & 15) / 15, (packed[5] >> 4) / 15, 5, 5) : () => 1;
  if (at > 2 * packed.length) return null;
  const width = Math.max(1, Math.round(32 * Math.min(1, nx / ny))), height = Math.max(1, Math.round(32 * Math.min(1, ny / nx)));
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const x = (pixel % width + 0.5) / width, y = (Math.floor(pixel / width) + 0.5) / height;
    const l = luminance(x, y), q = red(x, y), b = l - yellow(x, y) * 2 / 3, r = (3 * l - b + q) / 2;
    image.data.set([r, r - q, b, opaque(x, y)].map((value) => 255 * value), 4 * pixel);
  }
  return image;
}

/* ── elements ───────────────────────────────────────────────────────────────────────────────────────────────────── */

/** @template {keyof HTMLElementTagNameMap} N @param {N} name @param {string} part @param {object} [fields] */
function element(name, part, fields) {
  const made = document.createElement(name);
  made.setAttribute("part", part);
  return Object.assign(made, fields);
}

/** @param {string} css */
function sheet(css) {
  const made = new CSSStyleSheet(); // a strict policy forbids <style>, and not this
  made.replaceSync(`[hidden] { display: none !important } ${css}`);
  return made;
}

class YurtElement extends HTMLElement {
  /** @param {CSSStyleSheet} style */
  constructor(style) {
    super();
    this.root = this.attachShadow({ mode: "open" });
    this.root.adoptedStyleSheets = [style];
  }
  get url() { return this.getAttribute("url") ?? HOME; }
  /** @param {"yurt-upload" | "yurt-result" | "yurt-error"} name @param {object} detail */
  fire(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }
}

const IMAGE_STYLE = sheet(`
:host { display: inline-grid; overflow: hidden; vertical-align: top; color: inherit;
  background: var(--yurt-background, #8882); border-radius: var(--yurt-radius, 0) }
canvas, img, div { grid-area: 1 / 1; min-width: 0; min-height: 0; width: 100%; height: 100%; max-width: 100%;
  object-fit: var(--yurt-fit, cover) }
img { transition: opacity var(--yurt-fade, .3s) }
img.loading { opacity: 0 }
div { display: grid; place-content: center; place-items: center; gap: .5em; box-sizing: border-box; padding: 1em; text-align: center }
svg { width: 2.5em; fill: currentColor; opacity: .6 }
@media (prefers-reduced-motion: reduce) { img { transition: none } }`);
const SHIELD = "M12 1 3 5v6c0 5.5 3.8 10.7 9 12 5.2-1.3 9-6.5 9-12V5zm5.5 13.1-1.4 1.4L7 6.4 8.4 5z";

/**
 * `<yurt-image pipeline key ticket alt>` or `<yurt-image object="JSON" alt>`: the placeholder at once, and the
 * thumbnail when it is there. Its attribute `state` is `waiting`, `done`, `refused`, `parked`, `gone` or `failed`.
 */
export class YurtImage extends YurtElement {
  static observedAttributes = ["pipeline", "key", "ticket", "object", "url", "sizes", "alt"];
  #following = new AbortController();
  #changed = false;
  #renewed = false;
  #file = /** @type {Blob | null} */ (null);
  #report = /** @type {ObjectReport | null} */ (null);
  #canvas = element("canvas", "placeholder", { hidden: true, role: "img" });
  #image = element("img", "image", { hidden: true });
  #message = element("div", "message", { hidden: true });

  constructor() {
    super(IMAGE_STYLE);
    this.root.append(this.#canvas, this.#image, this.#message);
    this.#image.onload = () => { this.#image.className = ""; this.#canvas.hidden = true; };
    this.#image.onerror = () => this.#lost();
  }

  /** The object that is shown. */
  get object() { return this.#report; }
  set object(report) { this.#report = report; this.#change(); }

  /** A file whose reduced picture is the placeholder until there is another one. @param {Blob} file */
  set file(file) { this.#file = file; this.#change(); }

  connectedCallback() { this.#change(); }
  disconnectedCallback() { this.#following.abort(); }
  /** @param {string} name @param {string | null} _old @param {string | null} value */
  attributeChangedCallback(name, _old, value) {
    if (name === "object") {
      try { this.#report = JSON.parse(value ?? "null"); } catch { this.#report = null; }
    } else if (name === "key" || name === "pipeline") this.#report = null;
    this.#change();
  }

  #change() {
    if (this.#changed) return;
    this.#changed = true;
    queueMicrotask(() => { this.#changed = false; if (this.isConnected) this.#update(); });
  }

  #update() {
    this.#following.abort();
    this.#following = new AbortController();
    const { signal } = this.#following, report = this.#report, ticket = this.getAttribute("ticket");
    const pipeline = report?.pipeline ?? this.getAttribute("pipeline"), key = report?.key ?? this.getAttribute("key");
    this.#show(report);
    if (!ticket || !pipeline || !key || (report && !UNSETTLED.includes(report.state))) return;
    result({ pipeline, key, ticket, url: this.url, signal }).then((settled) => {
      this.#show(this.#report = settled);
      this.fire("yurt-result", { object: settled });
    }).catch((error) => { if (!signal.aborted) this.#fail(error); });
  }

  /** @param {Error} error */
  #fail(error) {
    this.#say("failed", error.message);
    this.fire("yurt-error", { error });
  }

  /** The URLs of a result live an hour: with a ticket there are new ones. */
  #lost() {
    if (this.#renewed || !this.hasAttribute("ticket")) return this.#fail(new YurtError("the picture cannot be loaded"));
    this.#renewed = true;
    const { pipeline, key } = /** @type {ObjectReport} */ (this.#report);
    this.#report = /** @type {any} */ ({ pipeline, key, state: "pending", result: this.#report?.result });
    this.#change();
  }

  /** @param {ObjectReport | null} report */
  #show(report) {
    const { state = "pending", result = null, error = null } = report ?? {};
    if (state === "parked") return this.#say(state, error?.message ?? "");
    if (state === "gone" || state === "forgotten") return this.#say("gone", words.gone);
    if (result?.verdict === "refused" || result?.labels?.verdict === "refused") return this.#say("refused", words.refused);
    const done = state === "done" && result;
    this.setAttribute("state", done ? "done" : "waiting");
    this.#message.hidden = true;
    const alt = this.getAttribute("alt") ?? this.#described(report);
    this.#canvas.ariaLabel = this.#image.alt = alt;
    this.#place(result?.labels?.thumbhash);
    if (done) this.#load(result);
  }

  /** @param {ObjectReport | null} report */
  #described(report) {
    const checks = report?.result?.labels?.checks;
    const seen = (Array.isArray(checks) ? checks : []).flatMap((check) => check.labels?.slice(0, 2) ?? []);
    return seen.map((label) => label.label).join(", ") || (report?.key ?? this.getAttribute("key") ?? "").split("/").pop() || "";
  }

  /** @param {string | undefined} hash */
  async #place(hash) {
    const pixels = typeof hash === "string" ? thumbhash(hash) : null, canvas = this.#canvas;
    const shown = pixels ?? (this.#file && await createImageBitmap(this.#file, { resizeWidth: 32 }).catch(() => null));
    if (!shown || (!this.#image.hidden && !this.#image.className)) return;
    [canvas.width, canvas.height, canvas.hidden] = [shown.width, shown.height, false];
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    if (shown instanceof ImageData) context.putImageData(shown, 0, 0); else context.drawImage(shown, 0, 0);
  }

  /** @param {ObjectResult} result */
  #load({ files, labels }) {
    const pictures = files.map(({ name, url }) => ({ url, side: Number(/^(\d+)\.\w+$/.exec(name)?.[1]) }))
      .filter(({ side }) => side).sort((one, other) => one.side - other.side);
    const image = this.#image, { width, height } = labels ?? {};
    if (!pictures.length) return;
    // A picture fits into a square of its side, and is never enlarged.
    const widthAt = (/** @type {number} */ side) => (width && height ? Math.round(width * Math.min(1, side / Math.max(width, height))) : side);
    const srcset = pictures.map(({ url, side }) => `${url} ${widthAt(side)}w`).join(", ");
    image.sizes = this.getAttribute("sizes") ?? "auto, 100vw";
    if (width && height) [image.width, image.height] = [width, height];
    if (image.srcset === srcset) return;
    image.className = "loading";
    image.hidden = false;
    image.loading = "lazy";
    image.srcset = srcset;
  }

  /** @param {string} state @param {string} text */
  #say(state, text) {
    this.setAttribute("state", state);
    this.#canvas.hidden = this.#image.hidden = true;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("d", SHIELD);
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    svg.append(path);
    this.#message.replaceChildren(...(state === "refused" ? [svg] : []), element("span", "text", { textContent: text }));
    this.#message.hidden = false;
  }
}

const UPLOAD_STYLE = sheet(`
:host { display: block; --accent: var(--yurt-accent, #2f6fde) }
.drop { display: grid; place-items: center; padding: var(--yurt-padding, 2em); border: 2px dashed var(--yurt-border, #8888);
  border-radius: var(--yurt-radius, .5em); background: var(--yurt-background, none) }
.over { border-color: var(--accent) }
button { font: inherit; color: inherit; background: none; border: 1px solid var(--yurt-border, #8888);
  border-radius: var(--yurt-radius, .5em); min-height: 2.75em; padding: 0 1em; cursor: pointer }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
ul { list-style: none; margin: .5em 0 0; padding: 0 }
li { display: grid; grid-template-columns: 1fr auto auto; gap: .25em 1em; align-items: center; padding: .25em 0 }
li bdi { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
progress { grid-column: 1 / -1; width: 100%; accent-color: var(--accent) }
p { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }`);

/** `<yurt-upload ticket-url accept multiple>`: a place to drop files on, a button, and what becomes of each file. */
export class YurtUpload extends YurtElement {
  #input = element("input", "input", { type: "file", hidden: true });
  #drop = element("div", "drop", { className: "drop" });
  #list = element("ul", "list");
  #status = element("p", "status", { role: "status" });
  /** @type {{file: File, row: Row}[]} */
  #waiting = [];
  #running = 0;
  /** @type {Promise<string> | null} */
  #ticket = null;

  constructor() {
    super(UPLOAD_STYLE);
    const button = element("button", "button", { type: "button", onclick: () => this.#input.click() });
    const slot = document.createElement("slot");
    slot.textContent = words.choose;
    button.append(slot);
    this.#drop.append(button, this.#input);
    this.root.append(this.#drop, this.#list, this.#status);
    button.addEventListener("click", () => {
      this.#input.accept = this.getAttribute("accept") ?? "";
      this.#input.multiple = this.hasAttribute("multiple");
    }, { capture: true });
    this.#input.onchange = () => { this.add(this.#input.files ?? []); this.#input.value = ""; };
    this.#drop.ondragover = (event) => { event.preventDefault(); this.#drop.classList.add("over"); };
    this.#drop.ondragleave = () => this.#drop.classList.remove("over");
    this.#drop.ondrop = (event) => {
      event.preventDefault();
      this.#drop.classList.remove("over");
      this.add(event.dataTransfer?.files ?? []);
    };
  }

  /** Upload files as if they had been chosen. @param {Iterable<File>} files */
  add(files) {
    const chosen = [...files].slice(0, this.hasAttribute("multiple") ? Infinity : 1);
    for (const file of chosen) {
      const row = new Row(file.name);
      this.#list.append(row.item);
      if (this.#takes(file)) this.#waiting.push({ file, row });
      else this.#failed(file, row, new YurtError(words.type, { code: "type-not-allowed", status: 403 }));
    }
    for (let lane = 0; lane < FILES_AT_ONCE; lane++) this.#next();
  }

  /** @param {File} file */
  #takes(file) {
    const accepted = (this.getAttribute("accept") ?? "").toLowerCase().split(",").map((part) => part.trim()).filter(Boolean);
    const name = file.name.toLowerCase(), type = typeOf(file, name);
    return !accepted.length || accepted.some((part) => part === "*/*" ||
      (part.startsWith(".") ? name.endsWith(part) : part.endsWith("/*") ? type.startsWith(part.slice(0, -1)) : type === part));
  }

  async #next() {
    if (this.#running >= FILES_AT_ONCE || !this.#waiting.length) return;
    const { file, row } = /** @type {{file: File, row: Row}} */ (this.#waiting.shift());
    this.#running++;
    try {
      if (!row.signal.aborted) await this.#send(file, row);
    } finally {
      this.#running--;
      this.#next();
    }
  }

  /** @param {File} file @param {Row} row */
  async #send(file, row) {
    try {
      const { ticket, ...place } = await this.#uploaded(file, row);
      row.say(words.processing);
      this.fire("yurt-upload", { file, ticket, ...place });
      this.#follow(file, row, ticket, place);
    } catch (/** @type {any} */ error) { this.#failed(file, row, error); }
  }

  /** @param {File} file @param {Row} row */
  async #uploaded(file, row) {
    for (let tries = 0; ; tries++) {
      const ticket = await (this.#ticket ??= this.#asked());
      try {
        const place = await upload(file, { ticket, url: this.url, signal: row.signal, onprogress: (progress) => row.progress(progress) });
        return { ticket, ...place };
      } catch (/** @type {any} */ error) {
        if (tries || !["ticket-used", "unauthorized"].includes(error.code)) throw error;
        this.#ticket = null;
      }
    }
  }

  /** A ticket from the app's server. */
  async #asked() {
    const url = new URL(this.getAttribute("ticket-url") ?? "/ticket", location.href).href;
    const body = JSON.stringify({ uploads: this.#waiting.length + this.#running });
    const ask = async () => (await answered(url, { method: "POST", headers: { "content-type": "application/json" }, body })).json();
    try {
      return (await retried(ask)).ticket;
    } catch (error) {
      this.#ticket = null;
      throw error;
    }
  }

  /** @param {File} file @param {Row} row @param {string} ticket @param {{pipeline: string, key: string}} place */
  async #follow(file, row, ticket, place) {
    try {
      const object = await result({ ...place, ticket, url: this.url, signal: row.signal });
      if (object.error) throw new YurtError(object.error.message, { code: object.error.reason });
      const refused = object.result?.verdict === "refused";
      this.#finish(row, refused ? words.refused : object.state === "done" ? words.done : words.gone, refused ? "refused" : object.state);
      this.fire("yurt-result", { file, ticket, object });
    } catch (/** @type {any} */ error) { this.#failed(file, row, error); }
  }

  /** @param {File} file @param {Row} row @param {any} error */
  #failed(file, row, error) {
    const { aborted } = row.signal;
    this.#finish(row, aborted ? words.cancelled : error.message, aborted ? "cancelled" : "failed");
    if (!aborted) this.fire("yurt-error", { file, error });
  }

  /** @param {Row} row @param {string} text @param {string} state */
  #finish(row, text, state) {
    row.end(text, state);
    this.#status.textContent = `${row.name}: ${text}`;
  }
}

/** One file in the list. */
class Row {
  #stop = new AbortController();
  #bar = element("progress", "progress", { max: 1, value: 0 });
  #text = element("span", "text", { textContent: words.waiting });
  #cancel = element("button", "cancel", { type: "button", textContent: words.cancel, onclick: () => this.#stop.abort() });
  item = element("li", "file");

  /** @param {string} name */
  constructor(name) {
    this.name = name;
    this.#cancel.ariaLabel = `${words.cancel}: ${name}`;
    this.#bar.ariaLabel = name;
    this.item.append(element("bdi", "name", { textContent: name }), this.#text, this.#cancel, this.#bar);
    this.signal.addEventListener("abort", () => this.end(words.cancelled, "cancelled"));
  }
  get signal() { return this.#stop.signal; }
  /** @param {string} text */
  say(text) { this.#text.textContent = text; }
  /** @param {{loaded: number, total: number}} progress */
  progress({ loaded, total }) {
    this.#bar.value = total ? loaded / total : 1;
    this.say(`${words.uploading} ${Math.floor(100 * this.#bar.value)} %`);
  }
  /** @param {string} text @param {string} state */
  end(text, state) {
    this.say(text);
    this.item.dataset.state = state;
    this.item.setAttribute("part", `file ${state}`);
    this.#cancel.hidden = this.#bar.hidden = true;
  }
}

customElements.define("yurt-image", YurtImage);
customElements.define("yurt-upload", YurtUpload);
