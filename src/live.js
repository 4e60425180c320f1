/* --- A page that shows the numbers of a program, which it asks each second --- */

const PERIOD_MS = 1000, PATIENCE_MS = 3000;

let answeredAt = 0; /* when /status.json was answered, by Date.now() */

const byId = id => document.getElementById(id);
const count = value => value.toLocaleString("en");

function scaled(value, unit) {
	const prefixes = ["", "k", "M", "G", "T", "P"];
	let i = 0;
	while (value >= 999.5 && i < prefixes.length - 1) {
		value /= 1000;
		i++;
	}
	const digits = i === 0 || value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2;
	return value.toFixed(digits) + " " + prefixes[i] + unit;
}
const bytes = value => scaled(value, "B");

function duration(seconds) {
	seconds = Math.round(seconds);
	if (seconds < 120)
		return seconds + " s";
	const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
	return days ? `${days} d ${hours % 24} h` : hours ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}

/* A cell of a table. A narrow page shows the label in it. */
function number(label, text) {
	const cell = element("td", {className: "number"}, text);
	cell.dataset.label = label;
	return cell;
}

/* key: the class of the line that stands for it in a plot. */
function tile(title, value, below, key) {
	const label = element("span", {className: "soft"}, title);
	if (key)
		label.prepend(element("i", {className: "key " + key}));
	return element("div", {className: "tile"}, label, element("b", {}, value), element("span", {className: "soft"}, below));
}

function showNumbers(totals) {
	byId("totals").replaceChildren(...Object.entries(totals).map(([name, value]) =>
		element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function setState(name, text) {
	const state = byId("state");
	state.className = name;
	if (state.textContent !== text)
		state.textContent = text;
}

function showAnswer(status) {
	const state = status.draining ? "draining" : "live";
	answeredAt = Date.now();
	byId("about").textContent = `${status.version} · up for ${duration(status.uptime_ms / 1000)}`;
	byId("lost").textContent = "";
	document.querySelector("main").classList.remove("stale");
	setState(state, state);
}

/* The text of the alert stays the same, so that a screen reader says it once. */
function showLoss(program) {
	const since = answeredAt ? `What is below is from ${new Date(answeredAt).toLocaleTimeString()}.` : "";
	byId("lost").textContent ||= `The ${program} does not answer any more. ${since} It is asked again each second.`;
	document.querySelector("main").classList.add("stale");
	setState("lost", "no answer");
}

/* Ask the program for ever, and give each answer to show. */
async function ask(program, show) {
	try {
		const answer = await fetch("status.json", {cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS)});
		if (!answer.ok)
			throw new Error(answer.statusText);
		const status = await answer.json();
		showAnswer(status);
		show(status);
	} catch {
		showLoss(program);
	}
	setTimeout(ask, PERIOD_MS, program, show);
}
