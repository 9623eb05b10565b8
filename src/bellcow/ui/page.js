// The operator's page: asks the server every two seconds and shows what it says. All that comes
// from the server is set as text. The token stays in this module's memory and is sent as a header.

const EVERY_MS = 2000;
const PATIENCE_MS = 8000;
const UNITS_MS = { ns: 1e-6, us: 1e-3, "µs": 1e-3, "μs": 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };
const NEVER = "0001-01-01T00:00:00Z";

let token = "";
let refused = null; // the answer that refused this token; not asked again until another is given
let answered = 0;

const at = (id) => document.getElementById(id);

/** One request; never throws. `status` is 0 when nothing answered. */
async function ask(path) {
  const headers = token ? { "X-Nomad-Token": token } : {};
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const response = await fetch(path, { headers, signal, cache: "no-store" });
    const text = await response.text();
    const isJson = (response.headers.get("Content-Type") ?? "").startsWith("application/json");
    return { status: response.status, text, value: isJson ? JSON.parse(text) : null };
  } catch {
    return { status: 0, text: "", value: null };
  }
}

/** Milliseconds of a duration such as 1m30s; -1 for one that is not known. */
function milliseconds(duration) {
  if (duration.startsWith("-")) return -1;
  let sum = 0;
  for (const [, number, unit] of duration.matchAll(/([\d.]+)(h|ms|m|s|us|µs|μs|ns)/g)) {
    sum += Number(number) * UNITS_MS[unit];
  }
  return sum;
}

/** A duration without the digits that nobody reads: 27.291304ms -> 27ms. */
function rounded(duration) {
  const ms = milliseconds(duration);
  if (ms < 0) return "never";
  return ms < 10000 ? `${Math.round(ms)}ms` : `${Math.round(ms / 1000)}s`;
}

/** How long ago in one unit: 3 d, 2 h, 5 min, 12 s. */
function since(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  if (seconds >= 172800) return `${Math.floor(seconds / 86400)} d`;
  if (seconds >= 7200) return `${Math.floor(seconds / 3600)} h`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds)} s`;
}

/** Why a server is not healthy, by the limits that autopilot judges by. */
function reason(server, leader, limits) {
  if (server.SerfStatus !== "alive") return `its member state is ${server.SerfStatus}`;
  const contact = milliseconds(server.LastContact);
  if (contact < 0) return "it has not been heard of yet";
  if (contact > milliseconds(limits.LastContactThreshold)) {
    return `last contact ${rounded(server.LastContact)} ago, limit ${limits.LastContactThreshold}`;
  }
  if (leader && server.LastTerm !== leader.LastTerm) {
    return `it is in term ${server.LastTerm}, the leader in ${leader.LastTerm}`;
  }
  const behind = leader ? leader.LastIndex - server.LastIndex : 0;
  if (behind > limits.MaxTrailingLogs) {
    return `it is ${behind} entries behind, limit ${limits.MaxTrailingLogs}`;
  }
  return "it has only just recovered";
}

function say(kind, sentence, advice = "") {
  at("summary").className = kind;
  at("sentence").textContent = sentence;
  at("advice").textContent = advice;
}

function cell(row, name, text, small = "", kind = "") {
  const td = row.insertCell();
  td.dataset.name = name;
  td.className = kind;
  td.append(text);
  if (small) {
    const note = document.createElement("small");
    note.textContent = small;
    td.append(note);
  }
  return td;
}

function showServer(body, server, leader, limits) {
  const row = body.insertRow();
  const role = server.Leader ? "leader" : server.Voter ? "voter" : "non-voter";
  cell(row, "Server", server.Name || server.ID, server.Address).title = server.ID;
  cell(row, "Role", role);
  if (server.Healthy) cell(row, "Health", "✓ healthy", "", "good");
  else cell(row, "Health", "✗ unhealthy", reason(server, leader, limits), "bad");
  const limit = server.Leader ? "" : `limit ${limits.LastContactThreshold}`;
  const contact = server.Leader ? "leads" : rounded(server.LastContact);
  cell(row, "Last contact", contact, limit).title = server.LastContact;
  const behind = leader ? Math.max(0, leader.LastIndex - server.LastIndex) : 0;
  const lag = server.Leader ? "" : `${behind} behind, limit ${limits.MaxTrailingLogs}`;
  cell(row, "Index", String(server.LastIndex), lag);
  const stable = server.StableSince === NEVER ? "–" : since(server.StableSince);
  cell(row, "Stable for", stable).title = server.StableSince;
}

function showHealth(health, limits) {
  const servers = health.Servers ?? [];
  const leader = servers.find((each) => each.Leader);
  const worstFirst = [...servers].sort((a, b) => a.Healthy - b.Healthy);
  const body = document.createElement("tbody");
  body.id = "rows";
  for (const server of worstFirst) showServer(body, server, leader, limits);
  at("rows").replaceWith(body);
  at("servers").hidden = servers.length === 0;
  at("tolerance").textContent = `${health.FailureTolerance} of ${servers.length} servers`;
  at("version").textContent = [...new Set(servers.map((each) => each.Version))].join(", ") || "–";
  const sick = servers.filter((each) => !each.Healthy).length;
  if (servers.length === 0) {
    say("warn", "The leader has not judged the servers yet.", "It does within a few seconds.");
  } else if (health.Healthy) {
    say("good", "✓ The cluster is healthy.", tolerated(health.FailureTolerance, servers.length));
  } else {
    say("bad", `✗ ${sick} of ${servers.length} servers unhealthy.`, "The reasons stand below.");
  }
}

function tolerated(count, servers) {
  if (servers === 1) return "It has one server, and stops with it: keep snapshots elsewhere.";
  if (count === 0) return "No server may fail: the next failure stops all writes.";
  return `${count} of ${servers} servers may fail before writes stop.`;
}

function hideServers() {
  at("servers").hidden = true;
  at("tolerance").textContent = at("version").textContent = "–";
}

function showNoRight(answer) {
  hideServers();
  if (!token) {
    say("warn", "Health is not shown without a token.", "Enter one with operator:read above.");
  } else if (answer.text === "Permission denied") {
    say("warn", "This token may not read health.", "It needs operator:read.");
  } else if (answer.status === 429) {
    say("warn", "Too many unknown tokens from here.", "Wait ten seconds before the next try.");
  } else {
    say("warn", "The cluster does not know this token.", "Is it the secret, not the accessor?");
  }
}

function showNoLeader() {
  hideServers();
  const advice =
    "Writes wait and fail; reads with ?stale go on. See who is there: bellcow server members, " +
    "bellcow operator raft list-peers -stale. Start the servers that are missing.";
  say("bad", "✗ No leader.", advice);
}

async function refresh() {
  const [leader, regions] = await Promise.all([
    ask("/v1/status/leader?stale"),
    ask("/v1/regions"),
  ]);
  if (leader.status === 0) {
    say("bad", "✗ This server does not answer.", "Is it running? What stands below may be out of date.");
    return;
  }
  answered = Date.now();
  at("leader").textContent = leader.value || "none";
  at("region").textContent = (regions.value ?? []).join(", ") || "–";
  if (!leader.value) {
    showNoLeader();
    return;
  }
  await refreshHealth();
}

async function refreshHealth() {
  const limits = refused ?? (await ask("/v1/operator/autopilot/configuration"));
  if (limits.status === 403 || limits.status === 429) {
    refused = limits;
    showNoRight(limits);
    return;
  }
  // An unhealthy cluster answers 429, so this is asked only with the right to ask.
  const health = await ask("/v1/operator/autopilot/health");
  await showOpenPeers();
  if (limits.value && health.value) showHealth(health.value, limits.value);
  else say("bad", "✗ The server refused.", (health.value ? limits : health).text);
}

/** Which servers let anybody pass for one of them: said as long as it is so. */
async function showOpenPeers() {
  const members = (await ask("/v1/agent/members")).value?.Members ?? [];
  const open = members.filter((each) => each.Tags?.open_peers).map((each) => each.Name);
  at("open").hidden = open.length === 0;
  at("open-names").textContent = open.join(", ");
}

function showAge() {
  const seconds = Math.round((Date.now() - answered) / 1000);
  at("asof").textContent = answered ? `As of ${seconds <= 3 ? "now" : `${seconds} s ago`}.` : "";
}

let asking = false;

/** One round at a time, and none while nobody looks. */
async function round() {
  if (asking || document.hidden) return;
  asking = true;
  await refresh();
  asking = false;
  showAge();
}

at("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  refused = null;
  round();
});
document.addEventListener("visibilitychange", round);
setInterval(round, EVERY_MS);
round();
