/*
 * Tells a page when somebody logs in or out in another tab, when the context
 * changes, and when the session is near its end. Optional:
 *
 *   <script src="/.sessgate/sessgate.js" defer></script>
 *
 * It asks GET state, which is no activity. Tabs share what one of them has
 * learned: each question puts off those of all others, so that however many
 * there are, one asks at a time. Hidden tabs do not ask by themselves;
 * when one is shown again it asks at once. No answer (503, no network) changes
 * nothing: an outage logs nobody out.
 */
(function () {
	"use strict";

	var script = document.currentScript;
	if (!script || window.sessgate)
		return;

	var url = new URL("state", script.src);
	var name = "sessgate " + url.pathname;
	/* Between two questions; data-every="S" sets other seconds, 0 none. */
	var every = Number(script.dataset.every || 1.2) * 1000;
	/* After another tab has gone where it may log in or out. */
	var LOOK_AGAIN = [150, 600, 1500];
	var ANSWER_MAX = 5000, RETRY_MAX = 30000, JITTER = 200;

	var state = null; /* the last answer */
	var tag = null;   /* its ETag */
	var asked = 0;    /* when it was asked for */
	var failures = 0;
	var timer = 0;
	var looks = [];
	var channel = null;
	var isOpen = false;
	var api = window.sessgate = { state: null, refresh: ask };

	function tell(what, before) {
		window.dispatchEvent(new CustomEvent("sessgate:" + what, {
			detail: Object.assign({ before: before }, state)
		}));
	}

	function user(s) {
		return s.authenticated ? s.user_id : null;
	}

	/*
	 * What was asked for before the last answer is too old to count; but a last
	 * answer of later than now is from before the clock was set back.
	 */
	function take(answer) {
		var before = state;
		if (answer.asked < asked && asked <= Date.now())
			return;
		asked = answer.asked;
		if (before && answer.tag === tag)
			return;
		tag = answer.tag;
		state = api.state = answer.state;
		tell("state", before);
		if (before && user(before) !== user(state)) {
			if (user(before) !== null)
				tell("logout", before);
			if (user(state) !== null)
				tell("login", before);
		} else if (before && before.context !== state.context) {
			tell("context", before);
		}
		if (state.warn && !(before && before.warn))
			tell("expiring", before);
	}

	/* Resolves to an answer, or to null when there is none. */
	function fetchState() {
		var at = Date.now(), knownTag = tag, known = state;
		var stop = new AbortController();
		var alarm = setTimeout(function () { stop.abort(); }, ANSWER_MAX);
		var headers = { Accept: "application/json" };
		if (channel)
			channel.postMessage("asking");
		if (knownTag)
			headers["If-None-Match"] = knownTag;
		return fetch(url, { headers: headers, cache: "no-store",
			credentials: "same-origin", signal: stop.signal
		}).then(function (got) {
			if (got.status === 304)
				return { asked: at, tag: knownTag, state: known };
			if (got.status !== 200)
				throw new Error("no answer");
			return got.json().then(function (s) {
				return { asked: at, tag: got.headers.get("ETag"),
					state: s };
			});
		}).catch(function () {
			return null;
		}).then(function (answer) {
			clearTimeout(alarm);
			return answer;
		});
	}

	function learn(answer) {
		failures = answer ? 0 : failures + 1;
		if (answer) {
			take(answer);
			if (channel)
				channel.postMessage(answer);
		}
		plan();
	}

	/* Where the browser has locks (https), only if no other tab is asking. */
	function ask() {
		if (!navigator.locks)
			return fetchState().then(learn);
		return navigator.locks.request(name, { ifAvailable: true },
			function (lock) {
				return lock ? fetchState().then(learn) : plan();
			}).catch(plan);
	}

	function plan() {
		var wait = every * Math.pow(2, Math.min(failures, 5));
		clearTimeout(timer);
		timer = 0;
		if (every > 0 && isOpen && !document.hidden)
			timer = setTimeout(ask, Math.min(wait,
				Math.max(every, RETRY_MAX)) +
				Math.random() * JITTER);
	}

	/*
	 * A hidden tab looks then, too, if no other one does; not where there are
	 * no locks, for all that are hidden wake at the same moment.
	 */
	function lookAgain() {
		looks.forEach(clearTimeout);
		if (document.hidden && !navigator.locks)
			return;
		looks = LOOK_AGAIN.map(function (ms) {
			return setTimeout(function () {
				if (Math.abs(Date.now() - asked) >= LOOK_AGAIN[0])
					ask();
			}, ms + Math.random() * JITTER);
		});
	}

	function hear(event) {
		if (event.data === "gone") {
			lookAgain();
		} else if (event.data === "asking") {
			plan();
		} else if (event.data && event.data.state) {
			failures = 0;
			take(event.data);
			plan();
		}
	}

	function show() {
		if (!document.hidden)
			ask();
		plan();
	}

	function open() {
		isOpen = true;
		if (!channel && window.BroadcastChannel) {
			channel = new BroadcastChannel(name);
			channel.onmessage = hear;
		}
		ask();
		plan();
	}

	/* A page that is left may be going to log in or out. */
	function close() {
		isOpen = false;
		clearTimeout(timer);
		looks.forEach(clearTimeout);
		if (channel) {
			channel.postMessage("gone");
			channel.close();
			channel = null;
		}
	}

	document.addEventListener("visibilitychange", show);
	window.addEventListener("pagehide", close);
	window.addEventListener("pageshow", function (event) {
		if (event.persisted)
			open();
	});
	open();
})();
