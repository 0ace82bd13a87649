// Node's own HTTP server, as its documentation shows it.
//
//     node node_server.js 127.0.0.1 8000
'use strict';

const fs = require('fs');
const http = require('http');

const LINES = 50;
const LINE_PAUSE = 100; // ms
const SLOW = 2000; // ms

// The release in the working folder; a broken one does not have it.
const FAST = fs.readFileSync('public/fast', 'utf8');
const VERSION = FAST.trim();

function plain(response, body) {
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
  response.end(body);
}

function stream(response, number) {
  if (number > LINES) {
    response.end();
    return;
  }
  response.write(`${VERSION} line ${number} of ${LINES}\n`);
  setTimeout(stream, LINE_PAUSE, response, number + 1);
}

function upload(request, response) {
  let length = 0;
  request.on('data', (data) => { length += data.length; });
  request.on('end', () => plain(response, `${VERSION} received ${length} bytes\n`));
}

const server = http.createServer((request, response) => {
  switch (request.url) {
    case '/slow':
      setTimeout(plain, SLOW, response, FAST);
      break;
    case '/stream':
      response.writeHead(200, { 'Content-Type': 'text/plain' });
      stream(response, 1);
      break;
    case '/upload':
      upload(request, response);
      break;
    default:
      plain(response, FAST);
  }
});

server.listen(Number(process.argv[3]), process.argv[2]);
