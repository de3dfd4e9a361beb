'use strict';

// The rows of the process list. Used twice: by the server for the first picture, and, as source text put into
// the page, by the browser. So these functions use nothing from outside but each other. All values are numbers.

function formatUptime(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return seconds + ' s';
  if (minutes < 60) return minutes + ' min ' + (seconds % 60) + ' s';
  return Math.floor(minutes / 60) + ' h ' + (minutes % 60) + ' min';
}

function renderTable(list) {
  function row(name, pid, startedAt, requests, answered) {
    const uptime = startedAt ? formatUptime(list.now - startedAt) : '';
    return '<tr' + (answered ? ' class="answered"' : '') + '><td>' + name + '</td><td class="number">' + pid
      + '</td><td class="number">' + uptime + '</td><td class="number">' + requests + '</td></tr>';
  }
  const rows = [ row('master', list.master.pid, list.master.startedAt, '') ];
  if (list.agent) rows.push(row('agent', list.agent.pid, list.agent.startedAt, ''));
  for (const worker of list.workers) {
    rows.push(row('app worker #' + worker.id, worker.pid, worker.startedAt, worker.requests, worker.pid === list.answeredBy.pid));
  }
  return rows.join('');
}

module.exports = { renderTable, formatUptime };
