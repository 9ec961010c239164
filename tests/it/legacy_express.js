// Logs people in through express-session and connect-redis, as a browser would,
// and prints their cookies: node legacy_express.js REDIS_SOCKET LOGINS
// LOGINS: JSON, [[data, {cookie options}], ...].
const http = require('http');
const session = require('express-session');
const { default: RedisStore } = require('connect-redis');
const [path, logins] = process.argv.slice(2);
const client = require('redis').createClient({ socket: { path } });

const options = { secret: 'the site\'s secret', resave: false, saveUninitialized: false };
let next;

const server = http.createServer((req, res) => {
  const [data, cookie] = next;
  session({ ...options, store: new RedisStore({ client }), cookie })(req, res, () => {
    Object.assign(req.session, data);
    res.end();
  });
});

const login = (port) => new Promise((resolve, reject) => {
  http.get({ port, host: '127.0.0.1', agent: false }, (res) => {
    res.resume();
    res.on('end', () => resolve(res.headers['set-cookie'][0].split(';')[0].split('=')[1]));
  }).on('error', reject);
});

(async () => {
  await client.connect();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const cookies = [];
  for (next of JSON.parse(logins)) cookies.push(await login(server.address().port));
  console.log(JSON.stringify(cookies));
  server.close();
  await client.quit();
})();
