// Answers at once, on /slow after 3 s, and has no signal handler.
require('http').createServer((req, res) => {
  setTimeout(() => res.end('done\n'), req.url.endsWith('/slow') ? 3000 : 0);
}).listen(8080);
