'use strict';

/** `events`: what happens. */

const { follow } = require('./client');

/** Too long for a line, or told by the other words of it. */
const LEFT_OUT = [ 'type', 'uptimeMs', 'backtrace' ];

async function events({ socket, out, paint }, { json }) {
  await follow(socket, '/events', line => {
    if (line !== '') out(json ? line : eventText(JSON.parse(line), paint));
  });
}

function eventText(event, paint) {
  const time = new Date().toTimeString().slice(0, 8);
  const members = Object.entries(event).filter(([ name, value ]) => !LEFT_OUT.includes(name) && value !== null);
  const words = members.map(([ name, value ]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : value}`);
  return [ paint('dim', time), paint('bold', event.type), ...words ].join(' ');
}

module.exports = { events, eventText };
