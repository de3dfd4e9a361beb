'use strict';

// The example's one page. It is whole without its script; the script keeps it fresh.

const { renderTable, formatUptime } = require('./rows');

const STYLE = `
:root {
  color-scheme: light dark;
  --fg: #1c2128; --dim: #5b6572; --line: #d8dde3; --bg: #f6f7f9; --card: #fff; --accent: #0b6e4f; --warn: #a4301c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --fg: #e6e9ed; --dim: #98a2ae; --line: #323a43; --bg: #14181d; --card: #1c2229; --accent: #55c79c; --warn: #ff8f78;
  }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--bg); color: var(--fg); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.25rem }
h1 { font-size: 1.6rem; margin: 0 0 .25rem }
p { margin: .25rem 0 1.25rem; color: var(--dim) }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem 1.25rem; margin: 1.25rem 0; overflow-x: auto;
}
.answer { font-size: 1.15rem; margin: 0; color: var(--fg) }
.answer strong { color: var(--accent) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th {
  text-align: left; font: 600 .85rem/1.4 system-ui, sans-serif; color: var(--dim);
  padding: .2rem 0 .4rem 1rem; white-space: nowrap;
}
td { padding: .4rem 0 .4rem 1rem; border-top: 1px solid var(--line) }
th:first-child, td:first-child { padding-left: 0 }
.number { text-align: right }
tr.answered td:first-child { color: var(--accent); font-weight: 600 }
code {
  font: .9rem ui-monospace, monospace; background: var(--card);
  border: 1px solid var(--line); border-radius: .3rem; padding: .1rem .35rem;
}
#state { color: var(--warn); min-height: 1.5em; margin: 0 }
footer { color: var(--dim); font-size: .9rem }
`;

/** Runs in the browser; asks for the list each second and redraws. */
const SCRIPT = `
${renderTable}
${formatUptime}
function show(id, html) { document.getElementById(id).innerHTML = html; }
let victim = Number(document.getElementById('pid').textContent);
async function refresh() {
  try {
    const response = await fetch('/processes', { cache: 'no-store' });
    const list = await response.json();
    show('worker', 'app worker #' + list.answeredBy.id);
    show('pid', String(list.answeredBy.pid));
    show('processes', renderTable(list));
    // The same proposal for as long as that worker lives, so that it can be copied.
    if (list.workers.length > 0 && !list.workers.some(worker => worker.pid === victim)) victim = list.workers[0].pid;
    show('kill', 'kill -9 ' + victim);
    show('state', '');
  } catch (err) {
    show('state', 'No answer from the application. Is it still running?');
  }
  setTimeout(refresh, 1000);
}
refresh();
`;

/**
 * @param {Object} list - what GET /processes answers
 * @param {string} nonce - allows the inline script under the content security policy
 * @return {string} the document
 */
function renderPage(list, nonce) {
  const { id, pid } = list.answeredBy;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>egg-cluster-rs example</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>egg-cluster-rs</h1>
<p>An Egg application whose processes are kept by a native master.</p>
<section>
<p class="answer">Answered by <strong id="worker">app worker #${id}</strong>, process <span id="pid">${pid}</span></p>
</section>
<section>
<table>
<thead><tr>
<th>Process</th><th class="number">pid</th><th class="number">Up for</th><th class="number">Requests answered</th>
</tr></thead>
<tbody id="processes">${renderTable(list)}</tbody>
</table>
</section>
<p id="state" role="status"></p>
<p>End a worker in a terminal and watch the list: <code id="kill">kill -9 ${pid}</code></p>
<footer>The workers tell the agent each second that they live; the agent tells the list to all workers, both through
Egg's messenger and the master.</footer>
</main>
<script nonce="${nonce}">${SCRIPT}</script>
</body>
</html>
`;
}

module.exports = { renderPage };
