'use strict';

// Plays the part of a service manager that opens sockets and starts masters with them: a shell, which holds the sockets
// and does not accept, runs one master after the other.

const fs = require('fs');
const net = require('net');
const { spawn } = require('child_process');

/** As systemd does it: the process that becomes the master knows that the sockets are for it. */
const AS_SERVICE = 'LISTEN_PID=$$ exec "$@"';

/** `wrapper` of a master that is started with sockets, `runs` times in a row. The pid is that of the shell. */
function service(runs = 1) {
  const numbers = Array.from({ length: runs }, (_, i) => i + 1).join(' ');
  return [ 'sh', '-c', `for run in ${numbers}; do sh -c '${AS_SERVICE}' sh "$@"; done`, 'sh' ];
}

/**
 * A listening socket for others. Nobody accepts on it here.
 *
 * @param {object} where as for `server.listen`
 * @return {Promise<{fd: number, release: Function}>} `release()` closes it, when a master, or the shell, has it
 */
async function listen(where) {
  const server = net.createServer();
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, resolve);
  });
  return { fd: server._handle.fd, release: () => close(server, where.path) };
}

/** libuv removes the file of a unix socket that it closes; the file belongs to those who have the socket now. */
async function close(server, path) {
  if (path) fs.renameSync(path, `${path}.kept`);
  await new Promise(resolve => server.close(resolve));
  if (path) fs.renameSync(`${path}.kept`, path);
}

/** Starts a process that has the socket and does nothing with it; the result ends it. */
function hold(fd) {
  const holder = spawn('sh', [ '-c', 'read end' ], { stdio: [ 'pipe', 'ignore', 'inherit', fd ] });
  return () => new Promise(resolve => {
    holder.once('exit', resolve);
    holder.stdin.end();
  });
}

module.exports = { service, listen, hold };
