'use strict';

// A worker of pm2: the same server as that of Node's cluster.

const http = require('http');
const { respond } = require('../fixture/framework/respond');

http.createServer(respond).listen(Number(process.env.BENCH_PORT), () => process.send('ready'));
