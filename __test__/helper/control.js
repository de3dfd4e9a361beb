'use strict';

const http = require('http');
const { get } = require('./http');

/** Asks the control socket: `{ status, headers, body, json }`. */
function ask(socket, method, path, body, options) {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  return get(socket, path, { method, body: text, ...options });
}

/** @return {Promise<object>} the answer to `GET /status` */
async function status(socket) {
  return (await ask(socket, 'GET', '/status')).json;
}

/** Asks again and again until the status is as wanted. */
async function until(socket, isSo, deadline = 20000) {
  const end = Date.now() + deadline;
  for (;;) {
    const report = await status(socket);
    if (isSo(report)) return report;
    if (Date.now() > end) throw new Error(`the status has not become so: ${JSON.stringify(report)}`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

/** Follows the events; resolves with `{ seen, next(isWanted), stop() }` as soon as it is connected. */
function follow(socket) {
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath: socket, path: '/events', agent: false }, response => {
      const seen = [];
      const waiting = new Set();
      let rest = '';
      let ended = false;
      const look = () => waiting.forEach(waiter => waiter());
      response.setEncoding('utf8');
      response.on('data', text => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        seen.push(...lines.map(line => JSON.parse(line)));
        look();
      });
      for (const end of [ 'end', 'error', 'close' ]) {
        response.on(end, () => {
          ended = true;
          look();
        });
      }
      const next = isWanted => new Promise((found, failed) => {
        const waiter = () => {
          const event = seen.find(isWanted);
          if (!event && !ended) return;
          waiting.delete(waiter);
          if (event) found(event);
          else failed(new Error(`the events ended with ${JSON.stringify(seen)}`));
        };
        waiting.add(waiter);
        waiter();
      });
      resolve({ seen, next, response, stop: () => request.destroy() });
    });
    request.on('error', reject);
  });
}

/** Pids of the app workers, by slot. */
function pidsOf(report) {
  return report.slots.map(({ process }) => process && process.pid);
}

module.exports = { ask, status, until, follow, pidsOf };
