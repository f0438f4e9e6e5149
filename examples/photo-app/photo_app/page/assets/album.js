// The album's page. Everything that Yurt does here is in its module: the elements <yurt-upload> and <yurt-image>.

const byId = (id) => document.getElementById(id);
const photos = byId("photos"), viewer = byId("viewer"), sure = byId("sure"), lost = byId("lost");
const RECONNECT_MS = 3000, SHOWN_LABELS = 3, LEAST_SCORE = 0.15;

const tiles = new Map();
const deleted = new Set(); // an answer that was under way may still name them

// ── what a photo is ──────────────────────────────────────────────────────────────────────────────────────────────────

const nameOf = (key) => key.split("/").pop();
const percent = (score) => `${Math.round(100 * score)}\u00a0%`;

const checksOf = (report) => report.result?.labels?.checks ?? [];

/** What the page says below a photo: why it is refused, that it is reviewed, or what it shows. */
function noteOf({ state, report }) {
  const checks = checksOf(report);
  const because = (verdict) => checks.filter((check) => check.verdict === verdict)
    .flatMap(({ because, labels }) => labels.filter(({ label }) => because.includes(label)))
    .map(({ label, score }) => `${label} ${percent(score)}`).join(", ");
  if (state === "pending") return "Is being processed";
  if (state === "parked") return "Cannot be shown";
  if (state === "refused") return `Refused: ${because("refused")}`;
  if (report.result?.verdict === "review") return `To be reviewed: ${because("review")}`;
  return seenIn(checks);
}

/** What a photo shows, by the checks that judge nothing: they have no verdict. */
function seenIn(checks) {
  const labels = checks.filter(({ verdict }) => verdict === null).flatMap(({ labels }) => labels);
  return labels.filter(({ score }) => score >= LEAST_SCORE).slice(0, SHOWN_LABELS).map(({ label }) => label).join(", ");
}

// ── the list ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A photo of which Yurt has said nothing yet. */
const uploaded = (key) => ({ key, state: "pending", report: {}, reported_at: 0 });

function tileOf(key) {
  const tile = byId("tile").content.cloneNode(true).querySelector("li"), name = nameOf(key);
  tile.querySelector("bdi").textContent = name;
  tile.querySelector(".open").ariaLabel = `Open ${name}`;
  tile.querySelector(".delete").ariaLabel = `Delete ${name}`;
  tile.querySelector(".open").onclick = () => view(key);
  tile.querySelector(".delete").onclick = () => askToDelete(key);
  return { element: tile, photo: uploaded(key) };
}

/** Show a photo: a new one before all others. */
function show(photo, file) {
  let tile = tiles.get(photo.key);
  if (deleted.has(photo.key) || tile?.photo.reported_at > photo.reported_at) return;
  if (!tile) {
    tile = tileOf(photo.key);
    tiles.set(photo.key, tile);
    photos.prepend(tile.element);
  }
  tile.photo = photo;
  tile.element.dataset.state = photo.state;
  tile.element.querySelector(".note").textContent = noteOf(photo);
  tile.element.querySelector(".open").disabled = photo.state !== "done";
  fill(tile.element.querySelector("yurt-image"), photo, file);
  count();
}

function fill(image, { key, state, report }, file) {
  if (file) image.file = file;
  image.setAttribute("alt", seenIn(checksOf(report)) || nameOf(key));
  if (state !== "pending") image.object = report;
}

function remove(key) {
  const tile = tiles.get(key);
  deleted.add(key);
  if (!tile) return;
  if (tile.element.contains(document.activeElement)) neighbour(key)?.querySelector("button").focus();
  if (viewer.open && viewer.dataset.key === key) viewer.close();
  tile.element.remove();
  tiles.delete(key);
  count();
}

const neighbour = (key) => tiles.get(key).element.nextElementSibling ?? tiles.get(key).element.previousElementSibling;

function count() {
  byId("empty").hidden = tiles.size > 0;
  byId("count").textContent = tiles.size === 1 ? "1 photo" : `${tiles.size} photos`;
}

async function load() {
  const { photos: all } = await ask("GET", "/photos");
  const keys = new Set(all.map(({ key }) => key));
  for (const key of tiles.keys()) if (!keys.has(key)) remove(key);
  for (const photo of all.reverse()) show(photo);
  count();
}

// ── one photo ────────────────────────────────────────────────────────────────────────────────────────────────────────

function view(key) {
  const { photo } = tiles.get(key), image = document.createElement("yurt-image");
  image.setAttribute("sizes", "100vw");
  fill(image, photo);
  viewer.querySelector("yurt-image").replaceWith(image);
  viewer.dataset.key = key;
  byId("viewed").textContent = nameOf(key);
  viewer.querySelector(".note").textContent = noteOf(photo);
  viewer.querySelector(".previous").disabled = !step(-1);
  viewer.querySelector(".next").disabled = !step(1);
  if (!viewer.open) viewer.showModal();
}

/** The key of the next photo that can be shown, in one direction or the other. */
function step(by) {
  const shown = [...photos.children].filter((tile) => tile.dataset.state === "done");
  const next = shown[shown.indexOf(tiles.get(viewer.dataset.key)?.element) + by];
  return next && [...tiles].find(([, { element }]) => element === next)[0];
}

function go(by) {
  const key = step(by);
  if (key) view(key);
}

viewer.querySelector(".previous").onclick = () => go(-1);
viewer.querySelector(".next").onclick = () => go(1);
viewer.querySelector(".close").onclick = () => viewer.close();
viewer.onclick = (event) => { if (event.target === viewer) viewer.close(); };
viewer.onkeydown = ({ key }) => go({ ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0);
viewer.onclose = () => tiles.get(viewer.dataset.key)?.element.querySelector(".open").focus();

function askToDelete(key) {
  byId("asked").textContent = `Delete ${nameOf(key)}?`;
  sure.returnValue = "keep";
  sure.onclose = async () => {
    if (sure.returnValue !== "delete") return;
    try {
      await ask("DELETE", "/photos", { key });
      remove(key);
      say(`${nameOf(key)} is deleted.`);
    } catch (error) { say(error.message); }
  };
  sure.showModal();
}

// ── the app's server ─────────────────────────────────────────────────────────────────────────────────────────────────

function say(text) { byId("said").textContent = text; }

function sayLost(text) {
  lost.textContent = text;
  lost.hidden = !text;
}

async function ask(method, path, body) {
  const answer = await fetch(path, { method, body: body && JSON.stringify(body) });
  if (answer.status === 401) location.reload(); // signed out: the page asks for the name
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const { message } = await answer.json().catch(() => ({}));
  throw new Error(message ?? `The album answered ${answer.status}.`);
}

/** Hear of changes. What was missed before is seen by loading the album again. */
function listen() {
  const events = new EventSource("/events");
  events.onopen = () => load().then(() => sayLost(""), () => {});
  events.addEventListener("photo", ({ data }) => show(JSON.parse(data)));
  events.addEventListener("deleted", ({ data }) => remove(JSON.parse(data).key));
  events.onerror = () => {
    sayLost("The connection is lost. The album tries again by itself.");
    if (events.readyState !== EventSource.CLOSED) return;
    setTimeout(() => load().catch(() => {}).then(listen), RECONNECT_MS);
  };
}

document.addEventListener("yurt-upload", ({ detail: { key, file } }) => {
  show(uploaded(key), file);
  ask("POST", "/photos", { key }).catch((error) => say(error.message));
});

try {
  await import(`${document.body.dataset.yurt}/yurt.js`);
  listen();
} catch {
  sayLost("Yurt cannot be reached. Load the page again in a moment.");
}
