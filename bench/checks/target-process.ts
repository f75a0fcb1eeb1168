/** What is checked: a plain HTTP server of Node, whose port it prints. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';

let open = 0;
let openMax = 0;
const server = http.createServer((request, response) => {
  if (request.url === '/open') response.end(String(openMax));
  else response.end('well');
});
server.on('connection', (socket) => {
  open += 1;
  openMax = Math.max(openMax, open);
  socket.on('close', () => {
    open -= 1;
  });
});
server.listen(0, '127.0.0.1', 4096, () => {
  console.log((server.address() as AddressInfo).port);
});
