// express-session with connect-redis: node express.js PORT REDIS_SOCKET PROCESSES
const cluster = require('cluster');
const [port, path, processes] = process.argv.slice(2);

if (cluster.isPrimary && Number(processes) > 1) {
  for (let i = 0; i < Number(processes); i++) cluster.fork();
} else {
  const express = require('express');
  const session = require('express-session');
  const { default: RedisStore } = require('connect-redis');
  const client = require('redis').createClient({ socket: { path } });

  client.on('error', () => {}); // it connects again by itself
  client.connect();
  const app = express();
  app.use(session({
    store: new RedisStore({ client }), secret: 'benchmark', resave: false, saveUninitialized: false,
  }));
  app.get('/check', (req, res) => {
    if (!req.session.user) return res.status(401).end();
    res.set('X-User', req.session.user).status(200).end();
  });
  app.post('/login', (req, res) => {
    req.session.user = req.query.user;
    res.status(201).end();
  });
  app.listen(Number(port), '127.0.0.1');
}
