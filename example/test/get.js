'use strict';

const http = require('http');

/**
 * @param {number} port
 * @param {string} path
 * @return {Promise<{status: number, body: string}>} the answer, over a connection that is closed afterwards
 */
module.exports = function get(port, path) {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path, agent: false }, response => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', chunk => {
        body += chunk;
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode, body }));
    });
    request.on('error', reject);
  });
};
