'use strict';

// What was built from what is told by content hashes, since a fresh checkout gives every file a new modification time.

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { ROOT } = require('./steps');

/** All files under a path in a fixed order; the path itself when it is a file; none when it does not exist. */
function listFiles(start) {
  const stat = fs.statSync(start, { throwIfNoEntry: false });
  if (!stat) return [];
  if (!stat.isDirectory()) return [ start ];
  return fs.readdirSync(start).sort().flatMap(name => listFiles(path.join(start, name)));
}

/** One hash over the names and contents of files, and over a text. */
function hash(files, text = '') {
  const sum = crypto.createHash('sha256').update(text);
  for (const file of files) {
    const content = fs.readFileSync(file);
    sum.update(`\n${path.relative(ROOT, file)} ${content.length}\n`).update(content);
  }
  return sum.digest('hex');
}

module.exports = { listFiles, hash };
