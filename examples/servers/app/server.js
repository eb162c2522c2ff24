// Answers at once, on /.../slow after 3 s. STOP_SIGNALS are the signals on which
// it finishes what is in flight and ends; "" is an application that has no handler.
const http = require('http');

let health = 200;
const server = http.createServer((req, res) => {
  const path = req.url.split('?')[0];
  if (path === '/sethealth/ko') health = 503;
  if (path === '/sethealth/ok') health = 200;
  if (path === '/health') res.statusCode = health;
  setTimeout(() => res.end('done\n'), path.endsWith('/slow') ? 3000 : 0);
});
server.listen(8080);

for (const signal of (process.env.STOP_SIGNALS ?? 'SIGTERM').split(' ').filter(Boolean)) {
  process.on(signal, () => {
    console.log('got ' + signal);
    server.close(() => console.log('closed nicely'));
    server.closeIdleConnections(); // proxies keep theirs open
  });
}
