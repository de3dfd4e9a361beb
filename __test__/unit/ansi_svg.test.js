'use strict';

const assert = require('assert');
const test = require('./helpers/test');
const { ansiToSvg } = require('../../scripts/ansi_svg');

test('each piece of a line stands in its column, with its colour', () => {
  const svg = ansiToSvg('\u001b[1mA\u001b[0m  \u001b[32mready\u001b[39m <&>\n\n\u001b[36m▁█\u001b[0m', { columns: 20 }, 'a <title>');
  const texts = [ ...svg.matchAll(/<text x="([\d.]+)" y="(\d+)" textLength="([\d.]+)"([^>]*)>([^<]*)<\/text>/g) ].map(match => match.slice(1));
  assert.deepStrictEqual(texts, [
    [ '16', '30', '8.4', ' font-weight="bold"', 'A' ],
    [ '41.2', '30', '42', ' fill="#8fc379"', 'ready' ],
    [ '83.2', '30', '33.6', '', ' &lt;&amp;&gt;' ],
    [ '16', '66', '16.8', ' fill="#56b6c2"', '▁█' ],
  ]);
  assert.ok(svg.includes('<title>a &lt;title&gt;</title>'));
  assert.match(svg, /^<svg [^>]*width="200" height="86"/);
});
