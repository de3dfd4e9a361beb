'use strict';

// One upgraded connection, as a WebSocket is: lines that are echoed, one at a time, until the client says goodbye.

const net = require('net');
const { endpoint } = require('./exchange');
const { now, sleep } = require('./time');

const HEAD_END = '\r\n\r\n';

/**
 * @param {Object} order - what to do
 * @param {number} order.port - of 127.0.0.1
 * @param {string} order.path - with the id
 * @param {number} order.frames - how many lines
 * @param {number} order.gapMs - pause between them
 * @param {number} order.timeoutMs - for the upgrade, for each echo and for the end
 * @param {string} [order.localAddress] - to come from
 * @return {Promise<Object>} the end, as of an exchange
 */
async function holdSession(order) {
  const startedAt = now();
  const line = new Line(order);
  try {
    await converse(line, order);
    return { outcome: 'answered', client: line.client, startedAt, sentAt: line.sentAt, endedAt: now() };
  } catch (err) {
    const code = err.code || err.message;
    return { outcome: line.outcome(err), code, client: line.client, startedAt, sentAt: line.sentAt, endedAt: now() };
  } finally {
    line.socket.destroy();
  }
}

async function converse(line, { path, frames, gapMs, port }) {
  const headers = `Host: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: chaos-echo`;
  line.socket.write(`GET ${path} HTTP/1.1\r\n${headers}${HEAD_END}`);
  const head = await line.read(HEAD_END);
  if (!head.startsWith('HTTP/1.1 101 ')) throw new WrongAnswer(head);
  for (let frame = 0; frame < frames; frame++) {
    const text = `${path} frame ${frame}\n`;
    line.socket.write(text);
    const echoed = await line.read('\n');
    if (echoed !== text) throw new WrongAnswer(echoed);
    await sleep(gapMs);
  }
  line.socket.end();
  await line.finish();
}

class WrongAnswer extends Error {}
class Silence extends Error {}

/** A socket that is read by awaiting. */
class Line {
  #text = '';
  #failure = null;
  #isClosed = false;
  #wake = () => {};

  constructor({ port, localAddress, timeoutMs }) {
    this.timeoutMs = timeoutMs;
    this.socket = net.connect({ host: '127.0.0.1', port, localAddress });
    this.socket.on('data', piece => {
      this.#text += piece.latin1Slice();
      this.#wake();
    });
    this.socket.once('connect', () => {
      this.client = endpoint(this.socket);
      setImmediate(() => { this.sentAt = now(); });
    });
    this.socket.on('error', err => { this.#failure = err; });
    this.socket.once('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  /** The text up to and with `end`. */
  async read(end) {
    await this.#wait(() => this.#text.includes(end));
    const at = this.#text.indexOf(end) + end.length;
    const text = this.#text.slice(0, at);
    this.#text = this.#text.slice(at);
    return text;
  }

  /** Until the other side has ended, without a word more and without an error. */
  async finish() {
    await this.#wait(() => this.#isClosed && !this.#failure);
    if (this.#text !== '') throw new WrongAnswer(this.#text);
  }

  async #wait(isThere) {
    const deadline = now() + this.timeoutMs;
    while (!isThere()) {
      if (this.#isClosed) throw this.#failure || new Error('closed');
      const left = deadline - now();
      if (left <= 0) throw new Silence('silence');
      let timer;
      await new Promise(resolve => {
        this.#wake = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  outcome(err) {
    if (err instanceof Silence) return 'hung';
    if (err instanceof WrongAnswer) return 'wrong';
    if (err.code === 'ECONNREFUSED') return 'refused';
    return this.socket.bytesRead > 0 ? 'cut' : 'reset';
  }
}

module.exports = { holdSession };
