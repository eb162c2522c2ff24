module.exports = { apps: [{ name: 'app', script: '/app/server.js' }] };
