// The page's script: live parts, refreshed views, dropped files. Everything works without it but these.
// It renders nothing itself: the server sends HTML, and `morph` changes what differs, so that nothing flickers.

const content = document.getElementById("content");
const csrf = document.body.dataset.csrf || "";
const $ = (id) => document.getElementById(id);

/* ── changing only what differs ─────────────────────────────────────────────────────────────────────────────────── */

const keyOf = (node) => (node.nodeType === 1 ? node.dataset.key || node.id : "");

function morphNode(mine, next) {
  if (mine.isEqualNode(next)) return;
  if (mine.nodeName !== next.nodeName) return mine.replaceWith(document.importNode(next, true));
  if (mine.nodeType !== 1) { mine.nodeValue = next.nodeValue; return; }
  // By their names: reading `attributes` makes nodes, which live as long as their element.
  for (const name of mine.getAttributeNames()) if (!next.hasAttribute(name) && name !== "hidden") mine.removeAttribute(name);
  for (const name of next.getAttributeNames()) {
    const value = next.getAttribute(name);
    if (mine.getAttribute(name) !== value && name !== "hidden") mine.setAttribute(name, value);
  }
  morphChildren(mine, next);
}

function morphChildren(mine, next) {
  const keyed = new Map();
  for (const child of mine.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
  let at = mine.firstChild;
  for (const wanted of [...next.childNodes]) {
    const key = keyOf(wanted);
    let same = key ? keyed.get(key) : null;
    if (!key && at && !keyOf(at) && at.nodeName === wanted.nodeName) same = at;
    if (!same) { mine.insertBefore(document.importNode(wanted, true), at); continue; }
    if (same === at) at = at.nextSibling; else mine.insertBefore(same, at);
    morphNode(same, wanted);
  }
  while (at) { const rest = at.nextSibling; at.remove(); at = rest; }
}

function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

/* ── sessions ───────────────────────────────────────────────────────────────────────────────────────────────────── */

const signIn = () => location.assign("/sign-in?next=" + encodeURIComponent(location.pathname + location.search));

async function session() {
  try { return (await fetch("/session", { cache: "no-store" })).status; } catch { return 0; }
}

/* ── live ───────────────────────────────────────────────────────────────────────────────────────────────────────── */

const SILENCE_MS = 15000; // The server sends something every five seconds at least.

function live() {
  let source = null, last = 0, retry = 0, timer = 0;
  const show = (state, text) => {
    const pulse = $("pulse");
    if (pulse.dataset.state !== state) { pulse.dataset.state = state; pulse.firstElementChild.textContent = text; }
    content.classList.toggle("stale", state === "lost" || state === "failing");
    $("lost").hidden = state !== "lost";
  };
  const heard = () => { last = Date.now(); retry = 0; };
  const open = () => {
    clearTimeout(timer);
    source?.close();
    last = Date.now();
    source = new EventSource("/live/events");
    source.addEventListener("view", (event) => {
      heard();
      show("live", "live");
      $("failing").hidden = true;
      for (const [name, html] of Object.entries(JSON.parse(event.data))) morphChildren($("part-" + name), parsed(html));
    });
    source.addEventListener("beat", () => { heard(); if ($("failing").hidden) show("live", "live"); });
    source.addEventListener("failing", (event) => {
      heard();
      show("failing", "failing");
      $("failing").textContent = JSON.parse(event.data);
      $("failing").hidden = false;
    });
    source.onerror = lost;
  };
  const lost = async () => {
    source.close();
    show("lost", "connection lost");
    clearTimeout(timer);
    timer = setTimeout(open, Math.min(10000, 500 * 2 ** retry++));
    if ((await session()) === 401) signIn();
  };
  setInterval(() => { if (source.readyState === 1 && Date.now() - last > SILENCE_MS) lost(); }, 2000);
  // A browser that slept has a connection that only looks open.
  document.addEventListener("visibilitychange", () => { if (!document.hidden && Date.now() - last > 3000) open(); });
  addEventListener("online", open);
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  open();
}

/* ── views that are read again ──────────────────────────────────────────────────────────────────────────────────── */

function refresh(seconds) {
  const busy = () => document.hidden || content.querySelector("tbody input:checked") ||
    document.activeElement.closest?.("form")?.matches("main form");
  const again = async () => {
    if (!busy()) {
      try {
        const answer = await fetch(location.href, { cache: "no-store" });
        if (answer.redirected) return signIn();
        const next = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (answer.ok && !busy()) {
          for (const notice of content.querySelectorAll("p.notice[role=status]")) notice.remove();
          morphChildren(content, next.getElementById("content"));
          prepare();
        }
        $("lost").hidden = answer.ok || answer.status === 404;
        if (answer.status === 404) return;
      } catch { $("lost").hidden = false; }
    }
    setTimeout(again, seconds * 1000);
  };
  setTimeout(again, seconds * 1000);
}

/* ── small things ───────────────────────────────────────────────────────────────────────────────────────────────── */

function prepare() {
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  for (const box of document.querySelectorAll("[data-all]")) box.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});

document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-all]")) return;
  for (const box of event.target.form.querySelectorAll("tbody input[type=checkbox]")) box.checked = event.target.checked;
});

function unshown(image) {
  const text = document.createElement(image.dataset.else ? "p" : "span");
  text.className = image.dataset.else ? "hint" : "blank";
  text.textContent = image.dataset.else || "no preview";
  image.replaceWith(text);
}

addEventListener("error", (event) => { if (event.target instanceof HTMLImageElement) unshown(event.target); }, true);
// An image may have failed before this script ran.
for (const image of content.querySelectorAll("img")) {
  if (image.complete && !image.naturalWidth && image.loading !== "lazy") unshown(image);
}

/* ── dropped files ──────────────────────────────────────────────────────────────────────────────────────────────── */

const MOST_FILES = 200, AT_ONCE = 3;
const SETTLED = ["done", "parked", "gone", "forgotten"];

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", "x-csrf-token": csrf },
  });
  if (answer.status === 401) signIn();
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.message);
  return said;
}

function tileOf(file) {
  const item = document.createElement("li");
  item.append(parsed('<span class="tile"><span class="cap"><bdi></bdi><span class="time"></span></span></span>'));
  item.querySelector("bdi").textContent = file.name;
  if (file.type.startsWith("image/")) {
    const image = new Image();
    image.alt = "";
    image.className = "soft";
    image.src = URL.createObjectURL(file);
    item.firstElementChild.prepend(image);
  } else {
    item.firstElementChild.prepend(parsed('<span class="blank">uploads</span>'));
  }
  return item;
}

const saying = (drop, text) => { const time = drop.item.querySelector(".time"); if (time) time.textContent = text; };

function send(drop, where) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", where.url);
    for (const [name, value] of Object.entries(where.headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => saying(drop, Math.round((100 * event.loaded) / event.total) + " %");
    request.onload = () => (request.status < 300 ? resolve() : reject(new Error("the store refused it: " + request.status)));
    request.onerror = () => reject(new Error("the store cannot be reached from this page. Does its CORS allow it? See yurt setup"));
    request.send(drop.file);
  });
}

function drops() {
  const list = $("drops"), waiting = [], followed = [];
  if (!list || !$("drop-files")) return;
  let sending = 0, following = false;

  const failed = (drop, error) => { saying(drop, error.message); drop.item.firstElementChild.classList.add("parked"); };

  const next = async () => {
    if (sending >= AT_ONCE || !waiting.length) return;
    const drop = waiting.shift();
    sending++;
    try {
      const where = await post("/drops", { pipeline: drop.pipeline, name: drop.file.name, size: drop.file.size });
      await send(drop, where);
      drop.key = where.key;
      drop.since = performance.now();
      saying(drop, "uploaded");
      followed.push(drop);
      if (!following) follow();
    } catch (error) { failed(drop, error); }
    sending--;
    next();
  };

  const settle = (drop, fate) => {
    const tile = parsed(fate.html), fresh = tile.querySelector("img");
    const time = tile.querySelector(".time");
    if (time && fate.state === "done") time.textContent = ((performance.now() - drop.since) / 1000).toFixed(1) + " s";
    const placeholder = drop.item.querySelector("img.soft");
    const swap = () => { drop.item.replaceChildren(tile); if (placeholder) URL.revokeObjectURL(placeholder.src); };
    if (!fresh) return swap();
    fresh.loading = "eager";
    fresh.decode().then(swap, swap); // the blurred one stays until the thumbnail can be shown
  };

  const follow = async () => {
    following = true;
    while (followed.length) {
      const asked = followed.filter((drop) => drop.pipeline === followed[0].pipeline).slice(0, 100);
      try {
        const { files } = await post("/drops/fates", { pipeline: asked[0].pipeline, keys: asked.map((drop) => drop.key) });
        asked.forEach((drop, position) => {
          if (SETTLED.includes(files[position].state)) {
            followed.splice(followed.indexOf(drop), 1);
            settle(drop, files[position]);
            $("drop-status").textContent = drop.file.name + ": " + files[position].state;
          } else {
            saying(drop, { pending: "waits", leased: "at work" }[files[position].state] || "uploaded");
            followed.push(...followed.splice(followed.indexOf(drop), 1));
          }
        });
      } catch { /* the live view says that the connection is lost; this goes on when it is back */ }
      await new Promise((done) => setTimeout(done, 400));
    }
    following = false;
  };

  const take = (files) => {
    for (const file of [...files].slice(0, MOST_FILES)) {
      const drop = { file, pipeline: $("drop-pipeline").value, item: tileOf(file) };
      list.prepend(drop.item);
      saying(drop, "waits");
      waiting.push(drop);
    }
    while (list.children.length > MOST_FILES) list.lastElementChild.remove();
    $("drop-hint").hidden = true;
    for (let lane = 0; lane < AT_ONCE; lane++) next();
  };

  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => { if (holdsFiles(event)) { event.preventDefault(); document.body.classList.add("dropping"); } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (holdsFiles(event)) { event.preventDefault(); take(event.dataTransfer.files); }
  });
  $("drop-files").addEventListener("change", (event) => { take(event.target.files); event.target.value = ""; });
}

/* ── which page this is ─────────────────────────────────────────────────────────────────────────────────────────── */

async function enter() {
  const code = location.hash.slice(1);
  history.replaceState(null, "", "/enter");
  if (!code) return location.replace("/sign-in");
  $("enter").elements.code.value = code;
  $("enter").submit();
}

async function signedInAlready() {
  // A browser sends a strict cookie with no request that another site began: one that came by a link asks again itself.
  if ((await session()) === 204) location.replace(document.querySelector("input[name=next]").value);
}

prepare();
({ live: () => { live(); drops(); }, enter, "sign-in": signedInAlready })[content.dataset.page]?.();
if (content.dataset.refresh) refresh(Number(content.dataset.refresh));
