'use strict';

// A server as a worker has it, for worker_preload.test.js: tells its port and what it sees of the preload.

const net = require('net');
const http = require('http');

const server = http.createServer((req, res) => {
  const { pathname, searchParams } = new URL(req.url, 'http://localhost');
  const ms = Number(searchParams.get('ms'));
  if (pathname === '/head') res.write('x');
  if (pathname === '/body') {
    let length = 0;
    req.on('data', chunk => {
      length += chunk.length;
    });
    req.on('end', () => res.end(String(length)));
    return;
  }
  setTimeout(() => res.end('answer'), ms);
});
server.on('upgrade', (req, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.pipe(socket);
});
server.on('close', () => process.send({ closed: true }));

process.on('message', message => {
  if (message === 'close') server.close(err => process.send({ closeError: err ? err.message : null }));
  if (message === 'address') process.send({ address: server.address(), listening: server.listening });
  if (message === 'fork') {
    const child = require('child_process').fork(__filename, [ 'report' ]);
    child.once('message', report => process.send({ report }));
  }
});

const facts = {
  env: process.env.EGG_CLUSTER_RS_WORKER === undefined ? null : process.env.EGG_CLUSTER_RS_WORKER,
  execArgv: process.execArgv,
  emitIsOwn: Object.prototype.hasOwnProperty.call(net.Server.prototype, 'emit'),
  // Node has one of its own.
  listeners: process.listenerCount('internalMessage'),
};
if (process.argv[2] === 'report') {
  process.send(facts, () => process.disconnect());
} else {
  server.listen(0, '127.0.0.1', () => process.send({ ...facts, port: server.address().port }));
}
